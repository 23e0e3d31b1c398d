package privilege_test

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// shippedInstalls are all that run an operator.
func shippedInstalls(ctx context.Context) map[string]objects {
	GinkgoHelper()
	return map[string]objects{
		"config/default":                      overlay(ctx, "resources: [CONFIG/default]"),
		"config/with-crds":                    overlay(ctx, "resources: [CONFIG/with-crds]"),
		"config/namespaced":                   overlay(ctx, "resources: [CONFIG/namespaced]"),
		"config/several-namespaces":           overlay(ctx, "resources: [CONFIG/several-namespaces]"),
		"config/default and all components":   overlay(ctx, "resources: [CONFIG/default]\ncomponents: [CONFIG/propagation, CONFIG/workload-identity, CONFIG/block-metadata, CONFIG/prometheus]"),
		"the chart":                           chart(ctx),
		"the chart with namespaced values":    chart(ctx, "--set=watchOwnNamespace=true,metrics.enabled=false,priorityClass.create=false"),
		"the chart with everything on":        chart(ctx, "--set=propagation.enabled=true,workloadIdentity.enabled=true,credentialPolicy.enabled=true,networkPolicy.blockMetadata=true"),
		"the chart with a list of namespaces": chart(ctx, "--set=watchNamespaces={team-a,team-b}"),
	}
}

var _ = Describe("the operator's pod", Ordered, func() {
	const namespace = "restricted"
	var installs map[string]objects

	BeforeAll(func(ctx SpecContext) {
		newNamespace(ctx, namespace, map[string]string{"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"})
		Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, &corev1.ServiceAccount{ObjectMeta: in(namespace, account, nil)}))).To(Succeed())
		installs = shippedInstalls(ctx)
		for _, class := range each[schedulingv1.PriorityClass](installs["config/default"], "PriorityClass") {
			Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, &class))).To(Succeed())
		}
	})

	podOf := func(install objects) *corev1.Pod {
		GinkgoHelper()
		template := only[appsv1.Deployment](install, "Deployment").Spec.Template
		return &corev1.Pod{ObjectMeta: in(namespace, "manager", template.Labels), Spec: template.Spec}
	}
	admitted := func(ctx context.Context, pod *corev1.Pod) error { return k8s.Create(ctx, pod, client.DryRunAll) }

	It("runs in a namespace that enforces the restricted standard, from every install", func(ctx SpecContext) {
		for name, install := range installs {
			Expect(admitted(ctx, podOf(install))).To(Succeed(), name)
		}
	})

	DescribeTable("would not run there", func(ctx SpecContext, message string, change func(*corev1.PodSpec)) {
		pod := podOf(installs["config/default"])
		change(&pod.Spec)
		err := admitted(ctx, pod)
		Expect(err).To(MatchError(apierrors.IsForbidden, "forbidden"))
		Expect(err).To(MatchError(And(ContainSubstring(`violates PodSecurity "restricted`), ContainSubstring(message))))
	},
		Entry("as root", "runAsUser=0", func(s *corev1.PodSpec) { s.SecurityContext.RunAsUser = new(int64(0)) }),
		Entry("as whoever the image says", "runAsNonRoot", func(s *corev1.PodSpec) { s.SecurityContext.RunAsNonRoot = nil }),
		Entry("without a seccomp profile", "seccompProfile", func(s *corev1.PodSpec) { s.SecurityContext.SeccompProfile = nil }),
		Entry("with capabilities left", "capabilities.drop", func(s *corev1.PodSpec) { s.Containers[0].SecurityContext.Capabilities = nil }),
		Entry("with a capability more", "NET_RAW", func(s *corev1.PodSpec) {
			s.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"NET_RAW"}
		}),
		Entry("where it may gain privileges", "allowPrivilegeEscalation", func(s *corev1.PodSpec) {
			s.Containers[0].SecurityContext.AllowPrivilegeEscalation = nil
		}),
		Entry("in the node's network", "hostNetwork", func(s *corev1.PodSpec) { s.HostNetwork = true }),
		Entry("with a folder of the node", "hostPath", func(s *corev1.PodSpec) {
			s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
		}),
	)

	It("has nothing beyond what it needs, in every install", func() {
		for name, install := range installs {
			pod := podOf(install).Spec
			Expect(pod.Containers).To(HaveLen(1), name)
			Expect(pod.InitContainers).To(BeEmpty(), name)
			Expect(pod.Volumes).To(BeEmpty(), name)
			Expect([]bool{pod.HostNetwork, pod.HostPID, pod.HostIPC, pod.HostUsers != nil && *pod.HostUsers}).NotTo(ContainElement(true), name)
			Expect(pod.EnableServiceLinks).To(HaveValue(BeFalse()), name)
			Expect(pod.AutomountServiceAccountToken).To(HaveValue(BeTrue()), name+": it talks to the API server")
			c := pod.Containers[0].SecurityContext
			Expect(c.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()), name)
			Expect(c.Privileged).To(Or(BeNil(), HaveValue(BeFalse())), name)
			Expect(c.Capabilities.Drop).To(Equal([]corev1.Capability{"ALL"}), name)
			for _, port := range pod.Containers[0].Ports {
				Expect(port.HostPort).To(BeZero(), name)
			}
			Expect(only[corev1.ServiceAccount](install, "ServiceAccount").AutomountServiceAccountToken).To(HaveValue(BeFalse()), name+": no other pod gets its token by default")
		}
	})

	It("lives in a namespace that the install makes restricted", func() {
		ns := only[corev1.Namespace](installs["config/default"], "Namespace")
		for _, mode := range []string{"enforce", "audit", "warn"} {
			Expect(ns.Labels).To(HaveKeyWithValue("pod-security.kubernetes.io/"+mode, "restricted"))
		}
	})
})

var _ = Describe("the operator's NetworkPolicy", func() {
	It("lets in nothing but scrapes, and out to names, the API server and https, from every install", func(ctx SpecContext) {
		for name, install := range shippedInstalls(ctx) {
			p := only[networkingv1.NetworkPolicy](install, "NetworkPolicy")
			d := only[appsv1.Deployment](install, "Deployment")
			Expect(p.Namespace).To(Equal(d.Namespace), name)
			// What is not listed is closed, in both directions.
			Expect(p.Spec.PolicyTypes).To(ConsistOf(networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress), name)
			Expect(p.Spec.PodSelector.MatchLabels).To(Equal(d.Spec.Selector.MatchLabels), name)
			Expect(p.Spec.PodSelector.MatchExpressions).To(BeEmpty(), name)

			var metrics []networkingv1.NetworkPolicyPort
			for _, port := range d.Spec.Template.Spec.Containers[0].Ports {
				if port.Name == "metrics" {
					metrics = ports(corev1.ProtocolTCP, intstr.FromString("metrics"))
				}
			}
			if metrics == nil {
				Expect(p.Spec.Ingress).To(BeEmpty(), name)
			} else {
				Expect(p.Spec.Ingress).To(HaveLen(1), name)
				Expect(p.Spec.Ingress[0].Ports).To(Equal(metrics), name)
			}
			Expect(p.Spec.Egress).To(HaveLen(2), name)
			Expect(p.Spec.Egress[0].Ports).To(ConsistOf(append(ports(corev1.ProtocolUDP, intstr.FromInt32(53)), ports(corev1.ProtocolTCP, intstr.FromInt32(53))...)), name)
			Expect(p.Spec.Egress[1].Ports).To(ConsistOf(append(ports(corev1.ProtocolTCP, intstr.FromInt32(443)), ports(corev1.ProtocolTCP, intstr.FromInt32(6443))...)), name)
		}
	})

	It("closes the clouds' metadata addresses where that is wanted, alike by kustomize and Helm", func(ctx SpecContext) {
		closed := only[networkingv1.NetworkPolicy](overlay(ctx, "resources: [CONFIG/default]\ncomponents: [CONFIG/block-metadata]"), "NetworkPolicy")
		var except []string
		for _, peer := range closed.Spec.Egress[1].To {
			except = append(except, peer.IPBlock.CIDR)
			except = append(except, peer.IPBlock.Except...)
		}
		Expect(except).To(Equal([]string{
			"0.0.0.0/0", "169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32",
			"::/0", "fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128", "fd00:42::42/128",
		}))
		Expect(closed.Spec.Egress[0].To).To(BeEmpty(), "names are asked at link-local addresses, too")
		charted := only[networkingv1.NetworkPolicy](chart(ctx, "--set=networkPolicy.blockMetadata=true"), "NetworkPolicy")
		Expect(charted.Spec.Egress).To(Equal(closed.Spec.Egress))
		newNamespace(ctx, closed.Namespace, nil)
		closed.Name = "closed"
		Expect(k8s.Create(ctx, &closed, client.DryRunAll)).To(Succeed(), "the API server takes the blocks")
	})

	It("lets scrapes in from whom the chart's value names", func(ctx SpecContext) {
		from := `[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}]`
		var peers []networkingv1.NetworkPolicyPeer
		Expect(yaml.Unmarshal([]byte(from), &peers)).To(Succeed())
		p := only[networkingv1.NetworkPolicy](chart(ctx, "--set-json=networkPolicy.metricsFrom="+from), "NetworkPolicy")
		Expect(p.Spec.Ingress).To(HaveLen(1))
		Expect(p.Spec.Ingress[0].From).To(Equal(peers))
	})
})

func ports(protocol corev1.Protocol, port intstr.IntOrString) []networkingv1.NetworkPolicyPort {
	return []networkingv1.NetworkPolicyPort{{Protocol: &protocol, Port: &port}}
}
