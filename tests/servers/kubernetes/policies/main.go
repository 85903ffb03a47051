// Network policies, enforced by kube-router's controller for both nodes, which share this machine's network.
package main

import (
	"context"
	"flag"
	"os/signal"
	"sync"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the cluster")
	node := flag.String("node", "node-a", "whose address stands for this machine")
	selector := flag.String("selector", "", "labels of the policies that are enforced; empty: all")
	services := flag.String("services", "10.96.0.0/16", "addresses of services")
	klog.InitFlags(nil)
	flag.Parse()
	if err := run(*kubeconfig, *node, *selector, *services); err != nil {
		klog.Fatal(err)
	}
}

func run(kubeconfig, node, selector, services string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	pods, policies, namespaces := watched(ctx, client, node, selector)

	settings := options.NewKubeRouterConfig()
	settings.HostnameOverride, settings.ClusterIPCIDRs = node, []string{services}
	settings.EnableIPv4, settings.EnableIPv6 = true, false
	settings.IPTablesSyncPeriod = time.Minute
	tables, sets, err := netpol.NewIPTablesHandlers(settings)
	if err != nil {
		return err
	}
	controller, err := netpol.NewNetworkPolicyController(
		client, settings, pods, policies, namespaces, &sync.Mutex{}, tables, sets)
	if err != nil {
		return err
	}
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, policies: controller.NetworkPolicyEventHandler,
		namespaces: controller.NamespaceEventHandler,
	} {
		if _, err = informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	beats := make(chan *healthcheck.ControllerHeartbeat, 1)
	go func() {
		for range beats {
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	go controller.Run(beats, ctx.Done(), &running)
	running.Wait()
	controller.Cleanup()
	return nil
}

// What the controller reads. It looks after the pods of one node: here all are that node's.
func watched(ctx context.Context, client kubernetes.Interface, node, selector string) (
	pods, policies, namespaces cache.SharedIndexInformer) {
	found, err := client.CoreV1().Nodes().Get(ctx, node, meta.GetOptions{})
	if err != nil {
		klog.Fatal(err)
	}
	var address string
	for _, one := range found.Status.Addresses {
		if one.Type == core.NodeInternalIP {
			address = one.Address
		}
	}
	all := informers.NewSharedInformerFactory(client, 0)
	chosen := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTweakListOptions(func(list *meta.ListOptions) { list.LabelSelector = selector }))
	pods, namespaces = all.Core().V1().Pods().Informer(), all.Core().V1().Namespaces().Informer()
	policies = chosen.Networking().V1().NetworkPolicies().Informer()
	if err := pods.SetTransform(func(object any) (any, error) {
		if pod, ok := object.(*core.Pod); ok && pod.Status.HostIP != "" {
			pod.Status.HostIP = address
		}
		return object, nil
	}); err != nil {
		klog.Fatal(err)
	}
	all.Start(ctx.Done())
	chosen.Start(ctx.Done())
	all.WaitForCacheSync(ctx.Done())
	chosen.WaitForCacheSync(ctx.Done())
	return pods, policies, namespaces
}
