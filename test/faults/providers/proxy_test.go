package providers_test

import (
	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

var _ = toxiproxy.NewProxy
var _ toxics.Toxic = new(toxics.TimeoutToxic)
