// What runs in the containers of `just demo --docker`: a web server that says which version it is and on which pod, writes a line
// a second into its log, and ends when it is asked to. `web ready` is its readiness probe.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const port = ":8080"

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "ready" {
		err = ready()
	} else {
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func ready() error {
	client := http.Client{Timeout: time.Second}
	answer, err := client.Get("http://127.0.0.1" + port)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func serve() error {
	// The only file of the image beside this program.
	version, err := os.ReadFile("/version")
	if err != nil {
		return err
	}
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("version %s on %s", strings.TrimSpace(string(version)), pod)
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(port, nil) }()

	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(time.Second)
	for seconds := 0; ; seconds++ {
		fmt.Printf("%s serves %s, for %d s by now\n", name, port, seconds)
		select {
		case err := <-failed:
			return err
		case <-asked.Done():
			fmt.Printf("%s was asked to end\n", name)
			return nil
		case <-tick.C:
		}
	}
}
