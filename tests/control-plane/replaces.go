//go:build ignore

// Writes the `replace` lines of go.mod; run by `go generate` after a change of
// the Kubernetes version.
//
// k8s.io/kubernetes requires its staging modules at v0.0.0 and replaces them by
// folders of its own tree. A replace in a dependency is ignored, so the main
// module has to repeat each of them with the published version: release v1.N.P
// publishes every staging module as v0.N.P.
package main

import (
	"encoding/json"
	"log"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

const kubernetes = "k8s.io/kubernetes"

func main() {
	log.SetFlags(0)

	version := strings.TrimSpace(run("go", "list", "-m", "-f", "{{.Version}}", kubernetes))
	var module struct{ GoMod string }
	if err := json.Unmarshal([]byte(run("go", "mod", "download", "-json", kubernetes+"@"+version)), &module); err != nil {
		log.Fatal(err)
	}
	goMod, err := os.ReadFile(module.GoMod)
	if err != nil {
		log.Fatal(err)
	}

	edit := []string{"mod", "edit"}
	staging := regexp.MustCompile(`(?m)^\s*(\S+) => \./staging/src/`)
	for _, line := range staging.FindAllStringSubmatch(string(goMod), -1) {
		edit = append(edit, "-replace="+line[1]+"="+line[1]+"@v0"+strings.TrimPrefix(version, "v1"))
	}
	run("go", edit...)
}

func run(name string, args ...string) string {
	command := exec.Command(name, args...)
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		log.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}
