package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// startLimit is generous: a start takes 3 s alone, much more while both
	// cores compile.
	startLimit = 2 * time.Minute
	// termGrace is what a component gets between SIGTERM and SIGKILL when a
	// restart asks for SIGTERM.
	termGrace = 3 * time.Second
	// pollEvery is how often readiness is asked for: fine enough not to show in
	// the start time, coarse enough not to load the API server.
	pollEvery = 25 * time.Millisecond
	// tailLines is how much of the log of a dead component is shown.
	tailLines = 20
)

// supervisor owns the components. It lives on the main thread alone: a child's
// parent-death signal fires when the *thread* that made it ends, and the main
// thread ends only with the process. Other goroutines hand it work by `todo`.
type supervisor struct {
	layout
	verbose   bool
	extra     map[string][]string
	processes map[string]*process
	deaths    chan *process
	todo      chan func() error
	client    *http.Client
	began     time.Time
	ready     *Ready
}

// process is one running component; exited is closed once it is reaped.
type process struct {
	name    string
	command *exec.Cmd
	exited  chan struct{}
}

// up runs a control plane until it is told to end.
func up(args []string) error {
	began := time.Now()
	flags := newOptions("up")
	keep := flags.Bool("keep", false, "do not end with stdin")
	verbose := flags.Bool("verbose", false, "components log more, progress on stderr")
	given := flags.list("arg", "COMPONENT=FLAG, added to its command line; may be repeated")
	if err := flags.parse(args); err != nil {
		return err
	}
	extra, err := extraArguments(*given)
	if err != nil {
		return err
	}

	runtime.LockOSThread()
	end := endings(*keep)
	l, err := prepare(flags.dir)
	if err != nil {
		return err
	}
	client, err := adminClient(l)
	if err != nil {
		return err
	}
	s := &supervisor{
		layout: l, verbose: *verbose, extra: extra, client: client, began: began,
		processes: map[string]*process{}, deaths: make(chan *process), todo: make(chan func() error),
	}
	return s.run(end)
}

func (s *supervisor) run(end <-chan string) error {
	defer s.stopAll()
	if err := os.Chdir(s.dir); err != nil {
		return err
	}
	socket, err := s.listen()
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := s.start(); err != nil {
		return err
	}
	for {
		select {
		case reason := <-end:
			s.say("ending: %s", reason)
			return nil
		case dead := <-s.deaths:
			if s.processes[dead.name] == dead { // else it was asked to die
				return s.obituary(dead)
			}
		case do := <-s.todo:
			if err := do(); err != nil {
				return err
			}
		}
	}
}

// start brings the components up in order. The controller manager gives up if
// it sees no healthy API server within 10 s, so it waits for one here.
func (s *supervisor) start() error {
	if err := s.spawn(etcdName); err != nil {
		return err
	}
	if err := s.spawn(apiServerName); err != nil {
		return err
	}
	s.when(s.apiReady, func(err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", apiServerName, err)
		}
		s.say("%s is ready", apiServerName)
		if err := errors.Join(s.spawn(controllerName), s.spawn(schedulerName)); err != nil {
			return err
		}
		s.when(s.takesPods, s.announce)
		return nil
	})
	return nil
}

// announce prints the one line on stdout.
func (s *supervisor) announce(err error) error {
	if err != nil {
		return fmt.Errorf("default service account: %w", err)
	}
	s.ready = &Ready{
		Server: s.server(), Kubeconfig: s.path("admin.kubeconfig"), CA: s.pki("ca.crt"), Dir: s.dir,
		Version: kubernetesVersion(), StartedInMS: time.Since(s.began).Milliseconds(),
	}
	if err := s.writePids(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s.ready)
}

// writePids keeps cluster.json true after a restart.
func (s *supervisor) writePids() error {
	s.ready.Pids = map[string]int{}
	for name, p := range s.processes {
		s.ready.Pids[name] = p.command.Process.Pid
	}
	return writeReady(*s.ready)
}

// when waits for the condition elsewhere and then runs `then` on the main
// thread, with an error if the condition did not come true in time.
func (s *supervisor) when(condition func() bool, then func(error) error) {
	go func() {
		var late error
		for deadline := time.Now().Add(startLimit); !condition(); time.Sleep(pollEvery) {
			if time.Now().After(deadline) {
				late = fmt.Errorf("not ready after %s", startLimit)
				break
			}
		}
		s.todo <- func() error { return then(late) }
	}()
}

func (s *supervisor) spawn(name string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append(arguments(name, s.layout, s.verbose), s.extra[name]...)
	command := &exec.Cmd{
		Path: self, Args: append([]string{name}, args...), Dir: s.dir,
		Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{
			Pdeathsig: syscall.SIGKILL,
			// A group of its own: Ctrl-C in a terminal reaches the supervisor only.
			Setpgid: true,
		},
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p := &process{name: name, command: command, exited: make(chan struct{})}
	s.processes[name] = p
	go func() {
		_ = command.Wait() // how it ended is in ProcessState
		close(p.exited)
		s.deaths <- p
	}()
	return nil
}

// stop ends a component and reaps it. It is forgotten first, so that its death
// is known to be wanted.
func (s *supervisor) stop(name string, with syscall.Signal) {
	p, running := s.processes[name]
	if !running {
		return
	}
	delete(s.processes, name)
	_ = p.command.Process.Signal(with) // it may have ended by itself
	select {
	case <-p.exited:
	case <-time.After(termGrace):
		_ = p.command.Process.Kill()
		<-p.exited
	}
}

// stopAll kills: nothing here is worth an orderly end, and the caller waits.
func (s *supervisor) stopAll() {
	for _, p := range s.processes {
		_ = p.command.Process.Kill()
	}
	for name := range s.processes {
		s.stop(name, syscall.SIGKILL)
	}
}

func (s *supervisor) obituary(dead *process) error {
	delete(s.processes, dead.name)
	log, _ := os.ReadFile(s.path(dead.name + ".log"))
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	tail := bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n"))
	return fmt.Errorf("%s ended unexpectedly: %s; the end of its log:\n%s", dead.name, dead.command.ProcessState, tail)
}

func (s *supervisor) say(format string, args ...any) {
	if s.verbose {
		fmt.Fprintf(os.Stderr, "%6d ms "+format+"\n", append([]any{time.Since(s.began).Milliseconds()}, args...)...)
	}
}

// apiReady holds once the API server answers and its bootstrap policy is in.
func (s *supervisor) apiReady() bool { return s.answers("/readyz") }

// takesPods holds once a pod could be created in the namespace `default`.
func (s *supervisor) takesPods() bool {
	return s.answers("/api/v1/namespaces/default/serviceaccounts/default") &&
		s.answers("/api/v1/namespaces/default/services/kubernetes")
}

func (s *supervisor) answers(path string) bool {
	response, err := s.client.Get(s.server() + path)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // lets the connection be used again
	return response.StatusCode == http.StatusOK
}

func adminClient(l layout) (*http.Client, error) {
	admin, err := tls.LoadX509KeyPair(l.pki("admin.crt"), l.pki("admin.key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return &http.Client{
		// An API server that hangs while it starts must not stop the polling.
		Timeout: 5 * time.Second,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{admin}, RootCAs: roots},
		},
	}, nil
}

// endings yields the reason once the control plane shall end.
func endings(keep bool) <-chan string {
	end := make(chan string, 1)
	tell := func(reason string) {
		select {
		case end <- reason:
		default: // it ends already
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() { tell((<-signals).String()) }()
	if !keep {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // an error ends stdin as well
			tell("end of stdin")
		}()
	}
	return end
}

func extraArguments(given []string) (map[string][]string, error) {
	extra := map[string][]string{}
	for _, text := range given {
		name, argument, found := strings.Cut(text, "=")
		if !found || !slices.Contains(startOrder, name) {
			return nil, usageError{fmt.Errorf("--arg %s: want COMPONENT=FLAG", text)}
		}
		extra[name] = append(extra[name], argument)
	}
	return extra, nil
}
