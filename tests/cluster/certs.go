package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// identity is a certificate with its key, as PEM.
type identity struct {
	certificate, key []byte
}

// certificates of one cluster. Every cluster has its own CA.
type certificates struct {
	ca, server, admin, serviceAccounts identity
}

func newCertificates() (*certificates, error) {
	caTemplate := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "local-cluster-ca"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	ca, caKey, err := issue(caTemplate, caTemplate, nil)
	if err != nil {
		return nil, err
	}
	server, _, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)},
	}, caTemplate, caKey)
	if err != nil {
		return nil, err
	}
	admin, _, err := issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, caTemplate, caKey)
	if err != nil {
		return nil, err
	}
	// Service account tokens are signed by a bare key. Its certificate is unused.
	serviceAccounts, _, err := issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "service-accounts"},
	}, caTemplate, caKey)
	if err != nil {
		return nil, err
	}
	return &certificates{ca, server, admin, serviceAccounts}, nil
}

// issue completes template and signs it. Without a signing key, it is self-signed.
func issue(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (identity, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, nil, err
	}
	if parentKey == nil {
		parentKey = key
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64)); err != nil {
		return identity{}, nil, err
	}
	// A virtual machine's system time may step back a little after the start.
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().AddDate(1, 0, 0)
	certificate, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return identity{}, nil, err
	}
	keyBytes, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return identity{}, nil, err
	}
	return identity{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyBytes}),
	}, key, nil
}

// write writes the files that the components read into dir.
func (c *certificates) write(dir string) error {
	for name, content := range map[string][]byte{
		"ca.crt":              c.ca.certificate,
		"server.crt":          c.server.certificate,
		"server.key":          c.server.key,
		"service-account.key": c.serviceAccounts.key,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *certificates) writeKubeconfig(path, server string) error {
	encode := base64.StdEncoding.EncodeToString
	return os.WriteFile(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: local
contexts:
- name: local
  context: {cluster: local, user: admin}
clusters:
- name: local
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: admin
  user:
    client-certificate-data: %s
    client-key-data: %s
`, server, encode(c.ca.certificate), encode(c.admin.certificate), encode(c.admin.key)), 0o600)
}

// client returns an HTTP client of the cluster with the administrator's certificate.
func (c *certificates) client() (*http.Client, error) {
	admin, err := tls.X509KeyPair(c.admin.certificate, c.admin.key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.ca.certificate)
	return &http.Client{
		Timeout: 5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{admin},
			RootCAs:      roots,
		}},
	}, nil
}
