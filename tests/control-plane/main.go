// Command vk-control-plane is a whole Kubernetes control plane in one program,
// for tests and demonstrations: throw-away, on 127.0.0.1 only, TLS everywhere.
//
//	vk-control-plane up ──┬── etcd
//	  (supervisor.go)     ├── kube-apiserver
//	                      ├── kube-controller-manager
//	                      └── kube-scheduler
//
// Every component is the same executable started again under the component's
// name (component.go), so that their global flags and feature gates never meet
// and each can be killed and measured alone.
//
// Contract with the caller of `up`: one JSON line on stdout (Ready) once the
// cluster takes pods; it ends on SIGTERM, SIGINT or end of stdin and leaves no
// process behind, whatever way it ends.
package main

//go:generate go run replaces.go

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

const usage = `usage:
  vk-control-plane up --dir DIR [--keep] [--verbose] [--arg COMPONENT=FLAG]...
        start a fresh control plane; what an earlier one left in DIR is removed
  vk-control-plane restart|stop|start --dir DIR [--signal kill|term] COMPONENT
        act on one component of a running control plane; its port stays
  vk-control-plane kubeconfig --dir DIR --user U [--group G]... [--foreign-ca]
                   [--out FILE] [--cert-out FILE] [--key-out FILE]
        issue a client certificate and write it down
  vk-control-plane kubectl ARGS...
  vk-control-plane version

components: etcd kube-apiserver kube-controller-manager kube-scheduler
`

// Exit codes: sysexits' EX_USAGE for a command line nobody understands.
const (
	exitFailure = 1
	exitUsage   = 64
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func main() {
	// Started by the supervisor: argv[0] is the name of the component.
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) < 2 {
		exit(usageError{errors.New("no command")})
	}
	command, args := os.Args[1], os.Args[2:]
	switch command {
	case "up":
		exit(up(args))
	case "restart", "stop", "start":
		exit(askSupervisor(command, args))
	case "kubeconfig":
		exit(issueKubeconfig(args))
	case "kubectl":
		os.Exit(kubectl(args))
	case "version":
		fmt.Printf("kubernetes %s, etcd %s\n", kubernetesVersion(), etcdVersion())
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		exit(usageError{fmt.Errorf("unknown command %q", command)})
	}
}

func exit(err error) {
	var wrong usageError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.As(err, &wrong):
		fmt.Fprintf(os.Stderr, "vk-control-plane: %v\n%s", err, usage)
		os.Exit(exitUsage)
	default:
		fmt.Fprintf(os.Stderr, "vk-control-plane: %v\n", err)
		os.Exit(exitFailure)
	}
}

// options is a flag set with the one flag all commands share. The folder is
// made absolute and becomes the working directory of the process: the address
// of a unix socket is limited to 107 bytes, which a folder below target/
// easily exceeds, so the socket is named relative to it.
type options struct {
	*flag.FlagSet
	dir string
}

func newOptions(command string) *options {
	o := &options{FlagSet: flag.NewFlagSet(command, flag.ContinueOnError)}
	o.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	o.StringVar(&o.dir, "dir", "", "folder of the control plane")
	return o
}

func (o *options) parse(args []string) error {
	if err := o.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if o.dir == "" {
		return usageError{errors.New("--dir is required")}
	}
	dir, err := filepath.Abs(o.dir)
	o.dir = dir
	return err
}

// list collects the values of a flag that may be repeated.
func (o *options) list(name, help string) *[]string {
	values := &[]string{}
	o.Func(name, help, func(value string) error {
		*values = append(*values, value)
		return nil
	})
	return values
}
