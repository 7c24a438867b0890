package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

const (
	// clusterAuthority is the name kubeadm gives it.
	clusterAuthority = "kubernetes"
	// serviceRange is kubeadm's default; no proxy serves it here.
	serviceRange = "10.96.0.0/16"
	// Ports come from below Linux's ephemeral range (32768 and up) and below the
	// node ports (30000 and up): while a component restarts, no outgoing
	// connection of another process can take its port.
	firstPort, lastPort = 20000, 29999
)

// apiServiceAddress is the first address of serviceRange, the service
// `kubernetes`.
var apiServiceAddress = net.IPv4(10, 96, 0, 1)

// layout is where the files and ports of one control plane are.
//
//	DIR/pki/*.{crt,key}       DIR/etcd/           DIR/NAME.log
//	DIR/NAME.kubeconfig       DIR/audit.log       DIR/cluster.json
//	DIR/control.sock          DIR/lock
type layout struct {
	dir                             string
	apiPort, etcdPort, etcdPeerPort int
}

// Ready is the line on stdout, and the file cluster.json.
type Ready struct {
	Server      string         `json:"server"`
	Kubeconfig  string         `json:"kubeconfig"`
	CA          string         `json:"ca"`
	Dir         string         `json:"dir"`
	Pids        map[string]int `json:"pids"`
	Version     string         `json:"version"`
	StartedInMS int64          `json:"started_in_ms"`
}

func (l layout) path(name string) string { return filepath.Join(l.dir, name) }

func (l layout) pki(name string) string { return filepath.Join(l.dir, "pki", name) }

func (l layout) server() string { return fmt.Sprintf("https://127.0.0.1:%d", l.apiPort) }

// prepare turns dir into the folder of a new control plane: it locks it for the
// life of this process, removes what an earlier one left there (and nothing
// else), and writes certificates, kubeconfigs and the audit policy.
func prepare(dir string) (layout, error) {
	l := layout{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return l, err
	}
	if err := lock(l.path("lock")); err != nil {
		return l, err
	}
	stale := []string{"pki", "etcd", "audit.log", "audit-policy.yaml", "cluster.json", "control.sock", "admin.kubeconfig"}
	for _, name := range startOrder {
		stale = append(stale, name+".log", name+".kubeconfig")
	}
	for _, name := range stale {
		if err := os.RemoveAll(l.path(name)); err != nil {
			return l, err
		}
	}

	ports, err := freePorts(3)
	if err != nil {
		return l, err
	}
	l.apiPort, l.etcdPort, l.etcdPeerPort = ports[0], ports[1], ports[2]
	if err := writePKI(l.path("pki")); err != nil {
		return l, err
	}
	if err := os.WriteFile(l.path("audit-policy.yaml"), []byte(auditPolicy), 0o644); err != nil {
		return l, err
	}
	signer, err := loadAuthority(l.pki("ca.crt"), l.pki("ca.key"))
	if err != nil {
		return l, err
	}
	for name, who := range map[string]identity{
		"admin":        {"kubernetes-admin", []string{"system:masters"}},
		controllerName: {"system:kube-controller-manager", nil},
		schedulerName:  {"system:kube-scheduler", nil},
	} {
		if err := writeKubeconfig(l, signer, who, l.path(name+".kubeconfig")); err != nil {
			return l, err
		}
	}
	return l, nil
}

// lock holds the file until this process ends. The descriptor is deliberately
// never closed; children do not inherit it.
func lock(file string) error {
	handle, err := syscall.Open(file, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := syscall.Flock(handle, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another control plane runs in %s", filepath.Dir(file))
	}
	return nil
}

// reserved keeps other control planes off the ports of this one until it ends:
// a port is free again from the moment it was found to the start of the
// component that wants it, and while that is restarted.
var reserved []net.Listener

// freePorts finds and reserves ports on 127.0.0.1, starting at a random one.
// The reservation is an abstract socket: two processes cannot have the same,
// it belongs to the same network namespace as the port, and it leaves no file.
func freePorts(count int) ([]int, error) {
	var found []int
	span := lastPort - firstPort + 1
	start := rand.IntN(span)
	for step := 0; step < span && len(found) < count; step++ {
		port := firstPort + (start+step)%span
		reservation, err := net.Listen("unix", fmt.Sprintf("@vk-control-plane-%d", port))
		if err != nil {
			continue
		}
		listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			reservation.Close()
			continue
		}
		listener.Close()
		reserved = append(reserved, reservation)
		found = append(found, port)
	}
	if len(found) < count {
		return nil, errors.New("no free port on 127.0.0.1")
	}
	return found, nil
}

// writeReady writes cluster.json so that readers see the old or the new one.
func writeReady(ready Ready) error {
	text, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	file := filepath.Join(ready.Dir, "cluster.json")
	if err := os.WriteFile(file+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func readReady(dir string) (Ready, error) {
	var ready Ready
	text, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		return ready, fmt.Errorf("no control plane became ready in %s: %w", dir, err)
	}
	return ready, json.Unmarshal(text, &ready)
}
