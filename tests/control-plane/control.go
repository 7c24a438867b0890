package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// socketName is relative: `up` and its clients work inside DIR (see options).
const socketName = "control.sock"

// signals by their name on the command line. SIGKILL is the default: a crash is
// what a test of a restart wants.
var signals = map[string]syscall.Signal{"kill": syscall.SIGKILL, "term": syscall.SIGTERM}

// request is one JSON value a connection carries to the supervisor.
type request struct {
	Command   string `json:"command"` // restart, stop, start
	Component string `json:"component"`
	Signal    string `json:"signal"`
}

// reply is the one JSON value that comes back. It comes once the API server
// answers again, except after `stop`, which replies when the process is reaped.
type reply struct {
	Error     string `json:"error,omitempty"`
	Component string `json:"component"`
	Pid       int    `json:"pid,omitempty"`
	TookMS    int64  `json:"took_ms"`
}

// askSupervisor is the client's side; it prints the reply.
func askSupervisor(command string, args []string) error {
	flags := newOptions(command)
	signal := flags.String("signal", "kill", "how to end the process: kill or term")
	if err := flags.parse(args); err != nil {
		return err
	}
	component := flags.Arg(0)
	if flags.NArg() != 1 || !slices.Contains(startOrder, component) || signals[*signal] == 0 {
		return usageError{fmt.Errorf("%s: want one component, and --signal kill or term", command)}
	}
	if err := os.Chdir(flags.dir); err != nil {
		return err
	}
	connection, err := net.Dial("unix", socketName)
	if err != nil {
		return fmt.Errorf("no control plane runs in %s: %w", flags.dir, err)
	}
	defer connection.Close()
	if err := json.NewEncoder(connection).Encode(request{command, component, *signal}); err != nil {
		return err
	}
	var answer reply
	if err := json.NewDecoder(connection).Decode(&answer); err != nil {
		return fmt.Errorf("the control plane gave no answer: %w", err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}

// listen serves the socket until it is closed.
func (s *supervisor) listen() (net.Listener, error) {
	listener, err := net.Listen("unix", socketName)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go s.serve(connection)
		}
	}()
	return listener, os.Chmod(socketName, 0o600)
}

func (s *supervisor) serve(connection net.Conn) {
	var asked request
	if err := json.NewDecoder(connection).Decode(&asked); err != nil {
		connection.Close()
		return
	}
	s.todo <- func() error {
		began := time.Now()
		finish := func(err error) error {
			defer connection.Close()
			answer := reply{Component: asked.Component, TookMS: time.Since(began).Milliseconds()}
			if err == nil && s.ready != nil {
				err = s.writePids()
			}
			if err != nil {
				answer.Error = err.Error()
			}
			if p := s.processes[asked.Component]; p != nil {
				answer.Pid = p.command.Process.Pid
			}
			_ = json.NewEncoder(connection).Encode(answer) // whoever asked may have left
			return nil
		}
		return s.obey(asked, finish)
	}
}

// obey runs on the main thread. What goes wrong is the asker's to know and no
// reason to end, so it goes to finish.
func (s *supervisor) obey(asked request, finish func(error) error) error {
	if s.ready == nil {
		return finish(errors.New("the control plane is still starting"))
	}
	_, running := s.processes[asked.Component]
	if asked.Command == "start" && running {
		return finish(fmt.Errorf("%s runs already", asked.Component))
	}
	if asked.Command != "start" {
		s.stop(asked.Component, signals[asked.Signal])
	}
	if asked.Command == "stop" {
		return finish(nil)
	}
	if err := s.spawn(asked.Component); err != nil {
		return finish(err)
	}
	if asked.Component != etcdName && asked.Component != apiServerName {
		return finish(nil)
	}
	// /readyz does not notice a short outage of etcd; reading an object does.
	s.when(func() bool { return s.apiReady() && s.takesPods() }, finish)
	return nil
}
