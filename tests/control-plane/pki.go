package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// validity outlives any demonstration; nothing here is worth keeping.
	validity = 30 * 24 * time.Hour
	// backdated forgives a clock that is set back after the start.
	backdated = time.Hour
)

// authority is a certificate authority that can sign.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// pair is a certificate and its key, both as PEM.
type pair struct{ cert, key []byte }

// identity is who a client certificate speaks for: RBAC reads the common name
// as the user and the organisations as the groups.
type identity struct {
	user   string
	groups []string
}

func newAuthority(name string) (*authority, pair, error) {
	key, err := newKey()
	if err != nil {
		return nil, pair{}, err
	}
	template := certificate(identity{user: name})
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	self := &authority{certificate: template, key: key}
	made, err := self.sign(template, key)
	if err != nil {
		return nil, pair{}, err
	}
	self.certificate, err = parseCertificate(made.cert)
	return self, made, err
}

func loadAuthority(certFile, keyFile string) (*authority, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	parsed, err := parseCertificate(cert)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", keyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an ECDSA key", keyFile)
	}
	return &authority{certificate: parsed, key: private}, nil
}

// client issues a certificate for a client only.
func (a *authority) client(who identity) (pair, error) {
	template := certificate(who)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.issue(template)
}

// server issues a certificate for 127.0.0.1, localhost and the given names. It
// is a client's as well, because an etcd member dials itself with it.
func (a *authority) server(name string, names []string, addresses ...net.IP) (pair, error) {
	template := certificate(identity{user: name})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = append([]string{"localhost"}, names...)
	template.IPAddresses = append([]net.IP{net.IPv4(127, 0, 0, 1)}, addresses...)
	return a.issue(template)
}

func (a *authority) issue(template *x509.Certificate) (pair, error) {
	key, err := newKey()
	if err != nil {
		return pair{}, err
	}
	return a.sign(template, key)
}

func (a *authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) (pair, error) {
	// Unique without a register: two certificates of one issuer must differ here.
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return pair{}, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		return pair{}, err
	}
	keyPEM, err := encodeKey(key)
	return pair{cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: keyPEM}, err
}

// writePKI makes every key and certificate of a cluster in folder. As in a real
// cluster etcd and the aggregation proxy have authorities of their own, so that
// a client of the API server is nobody to them.
func writePKI(folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	var failed error
	keep := func(name string, made pair, err error) {
		if err == nil {
			err = writePair(made, filepath.Join(folder, name+".crt"), filepath.Join(folder, name+".key"))
		}
		failed = errors.Join(failed, err)
	}
	root := func(file, name string) *authority {
		made, files, err := newAuthority(name)
		keep(file, files, err)
		return made
	}
	cluster, store, proxy := root("ca", clusterAuthority), root("etcd-ca", "etcd"), root("front-proxy-ca", "front-proxy")
	if failed != nil {
		return failed
	}

	service := "kubernetes.default.svc"
	made, err := cluster.server(apiServerName, []string{"kubernetes", "kubernetes.default", service, service + ".cluster.local"}, apiServiceAddress)
	keep(apiServerName, made, err)
	made, err = store.server(etcdName, nil)
	keep(etcdName, made, err)
	made, err = store.client(identity{user: "etcd-client"})
	keep("etcd-client", made, err)
	made, err = proxy.client(identity{user: "front-proxy-client"})
	keep("front-proxy-client", made, err)
	made, err = cluster.client(identity{"kube-apiserver-kubelet-client", []string{"system:masters"}})
	keep("kube-apiserver-kubelet-client", made, err)
	made, err = cluster.client(identity{"kubernetes-admin", []string{"system:masters"}})
	keep("admin", made, err)
	return errors.Join(failed, writeServiceAccountKeys(folder))
}

// writeServiceAccountKeys makes the pair that signs and verifies the tokens of
// service accounts: the API server wants the public half in a file of its own.
func writeServiceAccountKeys(folder string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	private, err := encodeKey(key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return errors.Join(
		os.WriteFile(filepath.Join(folder, "service-account.key"), private, 0o600),
		os.WriteFile(filepath.Join(folder, "service-account.pub"), public, 0o644),
	)
}

// writePair writes both halves; an empty name skips that half.
func writePair(made pair, certFile, keyFile string) error {
	var failed error
	if certFile != "" {
		failed = os.WriteFile(certFile, made.cert, 0o644)
	}
	if keyFile != "" {
		failed = errors.Join(failed, os.WriteFile(keyFile, made.key, 0o600))
	}
	return failed
}

func certificate(who identity) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: who.user, Organization: who.groups},
		NotBefore: now.Add(-backdated),
		NotAfter:  now.Add(validity),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
