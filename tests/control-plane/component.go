package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"time"
	_ "time/tzdata" // time zones of CronJobs, as in the released controller manager

	etcd "go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl's login plugins, as in the released kubectl
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics, as in the released programs
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/component-base/version"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// The names of the components, which are also their argv[0] and log names.
const (
	etcdName       = "etcd"
	apiServerName  = "kube-apiserver"
	controllerName = "kube-controller-manager"
	schedulerName  = "kube-scheduler"
)

// startOrder is the order in which components are started and reported.
var startOrder = []string{etcdName, apiServerName, controllerName, schedulerName}

// components maps argv[0] to what then runs; the result is the exit code.
var components = map[string]func() int{
	etcdName:       func() int { return runEtcd(os.Args[1:]) },
	apiServerName:  func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	controllerName: func() int { return cli.Run(controllers.NewControllerManagerCommand()) },
	schedulerName:  func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
}

// watchProgress keeps the revision of idle etcd watches fresh, as kubeadm sets
// it: without it the API server's watch cache answers consistent reads late.
const watchProgress = 5 * time.Second

// auditPolicy records who asked for what, not the bodies. RequestReceived only
// doubles the log; ResponseStarted stays, it is how a watch shows while open.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

// arguments is the command line of one component.
func arguments(name string, l layout, verbose bool) []string {
	var args []string
	switch name {
	case etcdName:
		return []string{
			"--data-dir=" + l.path("etcd"),
			"--pki=" + l.path("pki"),
			fmt.Sprintf("--client=https://127.0.0.1:%d", l.etcdPort),
			fmt.Sprintf("--peer=https://127.0.0.1:%d", l.etcdPeerPort),
		}
	case apiServerName:
		args = []string{
			fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", l.etcdPort),
			"--etcd-cafile=" + l.pki("etcd-ca.crt"),
			"--etcd-certfile=" + l.pki("etcd-client.crt"),
			"--etcd-keyfile=" + l.pki("etcd-client.key"),
			"--bind-address=127.0.0.1",
			"--advertise-address=127.0.0.1",
			// The lease reconciler refuses a loopback advertise address.
			"--endpoint-reconciler-type=none",
			fmt.Sprintf("--secure-port=%d", l.apiPort),
			"--tls-cert-file=" + l.pki("kube-apiserver.crt"),
			"--tls-private-key-file=" + l.pki("kube-apiserver.key"),
			"--client-ca-file=" + l.pki("ca.crt"),
			"--service-cluster-ip-range=" + serviceRange,
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + l.pki("service-account.pub"),
			"--service-account-signing-key-file=" + l.pki("service-account.key"),
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--kubelet-client-certificate=" + l.pki("kube-apiserver-kubelet-client.crt"),
			"--kubelet-client-key=" + l.pki("kube-apiserver-kubelet-client.key"),
			// As kubeadm: node names resolve nowhere.
			"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname",
			"--requestheader-client-ca-file=" + l.pki("front-proxy-ca.crt"),
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-username-headers=X-Remote-User",
			"--proxy-client-cert-file=" + l.pki("front-proxy-client.crt"),
			"--proxy-client-key-file=" + l.pki("front-proxy-client.key"),
			// Without kube-proxy a service address leads nowhere: dial its endpoints.
			"--enable-aggregator-routing=true",
			"--audit-policy-file=" + l.path("audit-policy.yaml"),
			"--audit-log-path=" + l.path("audit.log"),
			"--audit-log-mode=batch",
			// A batch is written after a second, so readers wait no longer than that.
			"--audit-log-batch-max-wait=1s",
			"--audit-log-batch-max-size=400",
			// Events beyond the buffer are dropped silently: room for a burst of 5000 pods.
			"--audit-log-batch-buffer-size=100000",
			// 0 = no rotation; the default moves the log away at 100 MB.
			"--audit-log-maxsize=0",
		}
	case controllerName:
		args = []string{
			"--kubeconfig=" + l.path(controllerName+".kubeconfig"),
			"--leader-elect=false",
			"--secure-port=0",
			"--use-service-account-credentials=true",
			"--controllers=*,bootstrap-signer-controller,token-cleaner-controller",
			"--cluster-signing-cert-file=" + l.pki("ca.crt"),
			"--cluster-signing-key-file=" + l.pki("ca.key"),
			"--root-ca-file=" + l.pki("ca.crt"),
			"--service-account-private-key-file=" + l.pki("service-account.key"),
			// The defaults (20/30) make every burst that controllers drive a
			// measurement of this limiter.
			"--kube-api-qps=200",
			"--kube-api-burst=400",
		}
	case schedulerName:
		args = []string{
			"--kubeconfig=" + l.path(schedulerName+".kubeconfig"),
			"--leader-elect=false",
			"--secure-port=0",
			"--kube-api-qps=200",
			"--kube-api-burst=400",
		}
	}
	if verbose {
		args = append(args, "--v=4")
	}
	return args
}

func runEtcd(args []string) int {
	flags := flag.NewFlagSet(etcdName, flag.ExitOnError)
	pki := flags.String("pki", "", "folder of the certificates")
	dataDir := flags.String("data-dir", "", "folder of the data")
	client := flags.String("client", "", "URL for clients")
	peer := flags.String("peer", "", "URL for peers")
	_ = flags.Parse(args) // ExitOnError

	config := embed.NewConfig()
	config.Dir = *dataDir
	// A throw-away survives the kill of a process, and need not survive more.
	config.UnsafeNoFsync = true
	// etcd 3.6 leaves this at 0 for embedders: every request is logged as slow.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	config.WatchProgressNotifyInterval = watchProgress
	config.LogLevel = "warn"
	config.ListenClientUrls = urls(*client)
	config.AdvertiseClientUrls = config.ListenClientUrls
	config.ListenPeerUrls = urls(*peer)
	config.AdvertisePeerUrls = config.ListenPeerUrls
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	tls := transport.TLSInfo{
		CertFile:       *pki + "/etcd.crt",
		KeyFile:        *pki + "/etcd.key",
		TrustedCAFile:  *pki + "/etcd-ca.crt",
		ClientCertAuth: true,
	}
	config.ClientTLSInfo, config.PeerTLSInfo = tls, tls

	server, err := embed.StartEtcd(config)
	if err == nil {
		err = <-server.Err()
	}
	fmt.Fprintln(os.Stderr, err)
	return exitFailure
}

func urls(text string) []url.URL {
	parsed, err := url.Parse(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(exitUsage)
	}
	return []url.URL{*parsed}
}

// kubectl is the released program's main: it reads os.Args itself.
func kubectl(args []string) int {
	os.Args = append([]string{"kubectl"}, args...)
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
		return exitFailure
	}
	return 0
}

func kubernetesVersion() string { return version.Get().GitVersion }

func etcdVersion() string { return etcd.Version }
