// Command provider runs one simulated provider in a Pod of the end-to-end suite.
//
// Workloads and the operator reach it over TLS on port 443, as they would reach
// the real one, at the address of its Service: nothing here needs cluster DNS. A
// second, plain port is for the suite, which reaches it through the API server: it
// tells the authority's certificate, counts who called and how it went, and takes
// the token endpoint, never the resource, out of service.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/providertoken/operator/internal/providersim"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "provider:", err)
		os.Exit(1)
	}
}

type options struct {
	provider, address, listen, port, admin string
	lifetime                               time.Duration
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("provider", flag.ContinueOnError)
	fs.StringVar(&o.provider, "provider", "", "`name` of the provider: Generic, PlantPredict, SpatiaFi, UP42 or UP42Project")
	fs.StringVar(&o.address, "address", "", "IP `address` at which clients reach it: its Service's; it goes into URLs and certificate")
	fs.StringVar(&o.listen, "listen", "", "IP `address` to listen on, other than 127.0.0.1: the Pod's")
	fs.StringVar(&o.port, "port", "443", "`port` to listen on; it is in the URLs too")
	fs.StringVar(&o.admin, "admin", ":8080", "`address:port` for the suite")
	fs.DurationVar(&o.lifetime, "lifetime", 0, "`lifetime` of access tokens, in whole seconds; the real provider's when left out")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if net.ParseIP(o.address) == nil || net.ParseIP(o.listen) == nil {
		return o, fmt.Errorf("-address=%q -listen=%q: both must be IP addresses", o.address, o.listen)
	}
	return o, nil
}

// run serves until it is told to end.
func run(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	behind := net.JoinHostPort("127.0.0.1", o.port)
	sim, err := providersim.Start(providersim.Options{
		Lifetime: o.lifetime, Addresses: map[string]string{o.provider: behind}, ServerNames: []string{o.address},
	})
	if err != nil {
		return err
	}
	defer sim.Close()
	host, endpoints, err := choose(sim, o.provider)
	if err != nil {
		return err
	}
	front, err := newFront(net.ParseIP(o.address), behind, sim.CABundle())
	if err != nil {
		return err
	}
	var config net.ListenConfig
	door, err := config.Listen(ctx, "tcp", net.JoinHostPort(o.listen, o.port))
	if err != nil {
		return err
	}
	desk := &http.Server{Addr: o.admin, Handler: newDesk(host, front.bundle, endpoints).handler(), ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 2)
	go func() { failed <- front.serve(ctx, door) }()
	go func() { failed <- desk.ListenAndServe() }()
	fmt.Printf("%s serves %v\n", o.provider, endpoints)
	select {
	case <-ctx.Done():
		return desk.Close()
	case err := <-failed:
		return err
	}
}

// choose returns one of the simulated providers, and its endpoints by name.
func choose(sim *providersim.Simulator, name string) (*providersim.Host, map[string]string, error) {
	var host *providersim.Host
	endpoints := map[string]string{}
	switch name {
	case providersim.GenericName:
		host, endpoints["token"] = sim.Generic.Host, sim.Generic.TokenURL()
	case providersim.PlantPredictName:
		host, endpoints["token"] = sim.PlantPredict.Host, sim.PlantPredict.TokenURL()
	case providersim.SpatiaFiName:
		host, endpoints["token"], endpoints["login"] = sim.SpatiaFi.Host, sim.SpatiaFi.TokenURL(), sim.SpatiaFi.LoginURL()
	case providersim.UP42Name:
		host, endpoints["token"] = sim.UP42.Host, sim.UP42.TokenURL()
	case providersim.UP42ProjectName:
		host, endpoints["token"] = sim.UP42Project.Host, sim.UP42Project.TokenURL()
	default:
		return nil, nil, errors.New("-provider must be one of Generic, PlantPredict, SpatiaFi, UP42, UP42Project")
	}
	endpoints["resource"] = host.ResourceURL()
	return host, endpoints, nil
}
