package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
)

// kubeconfig is self-contained: everything inline, nothing points at a file.
func kubeconfig(server, user string, ca []byte, client pair) []byte {
	inline := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: vk
contexts:
- name: vk
  context: {cluster: vk, user: %q}
clusters:
- name: vk
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %q
  user:
    client-certificate-data: %s
    client-key-data: %s
`, user, server, inline(ca), user, inline(client.cert), inline(client.key))
}

// writeKubeconfig issues a client certificate of signer and writes it for the
// cluster in l.
func writeKubeconfig(l layout, signer *authority, who identity, file string) error {
	client, err := signer.client(who)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil {
		return err
	}
	return os.WriteFile(file, kubeconfig(l.server(), who.user, ca, client), 0o600)
}

// issueKubeconfig is the command of that name. With --foreign-ca the signer is
// an authority of the same name that nobody trusts: the certificate of an
// impostor. It works on a running cluster and on one that is down.
func issueKubeconfig(args []string) error {
	flags := newOptions("kubeconfig")
	user := flags.String("user", "", "user, the common name")
	groups := flags.list("group", "group, an organisation; may be repeated")
	foreign := flags.Bool("foreign-ca", false, "sign by an authority the cluster does not know")
	out := flags.String("out", "", "kubeconfig to write")
	certOut := flags.String("cert-out", "", "certificate to write, PEM")
	keyOut := flags.String("key-out", "", "key to write, PEM")
	if err := flags.parse(args); err != nil {
		return err
	}
	if *user == "" || *out+*certOut+*keyOut == "" {
		return usageError{errors.New("kubeconfig needs --user and one of --out, --cert-out, --key-out")}
	}

	ready, err := readReady(flags.dir)
	if err != nil {
		return err
	}
	l := layout{dir: flags.dir}
	signer, err := loadAuthority(l.pki("ca.crt"), l.pki("ca.key"))
	if *foreign {
		signer, _, err = newAuthority(clusterAuthority)
	}
	if err != nil {
		return err
	}
	client, err := signer.client(identity{user: *user, groups: *groups})
	if err != nil {
		return err
	}
	if err := writePair(client, *certOut, *keyOut); err != nil || *out == "" {
		return err
	}
	ca, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil {
		return err
	}
	return os.WriteFile(*out, kubeconfig(ready.Server, *user, ca, client), 0o600)
}
