package main

// row is a line of panels of equal width.
type row struct {
	title  string
	height int
	panels []panel
}

// ofProvider selects by the dashboard's variable.
const ofProvider = `{provider=~"$provider"}`

//nolint:funlen // a table
func rows() []row {
	return []row{
		{height: 4, panels: []panel{
			{kind: "stat", title: "Tokens that work", about: "Target Secrets with a token that has not expired.",
				queries: []query{{`sum(providertoken_tokens{provider=~"$provider", state=~"fresh|overdue|failing|suspended"}) or vector(0)`, ""}}},
			{kind: "stat", title: "Cannot be replaced", about: "They work, but their refresh fails.", red: 1,
				queries: []query{{`sum(providertoken_tokens{provider=~"$provider", state="failing"}) or vector(0)`, ""}}},
			{kind: "stat", title: "Expired or missing", about: "Workloads that need them are refused.", red: 1,
				queries: []query{{`sum(providertoken_tokens{provider=~"$provider", state=~"expired|missing"}) or vector(0)`, ""}}},
			{kind: "stat", title: "Frozen logins", about: "Credentials that are not tried, so that the account is not locked.", red: 1,
				queries: []query{{`count(count by (credential, host) (providertoken_failing_tokens{provider=~"$provider", reason="LoginFrozen"} > 0)) or vector(0)`, ""}}},
			{kind: "stat", title: "First expiry in", unit: "s", about: "Time until the first of the tokens that work expires.",
				queries: []query{{`min(providertoken_earliest_token_expiry_timestamp_seconds` + ofProvider + `) - time()`, ""}}},
			{kind: "stat", title: "Hosts that are down", red: 1, about: "Providers' hosts that gave no answer three times in a row.",
				queries: []query{{`sum(max by (host) (providertoken_host_down)) or vector(0)`, ""}}},
		}},
		{title: "Tokens", height: 9, panels: []panel{
			{kind: "timeseries", title: "Tokens by state", stacked: true,
				queries: []query{{`sum by (state) (providertoken_tokens` + ofProvider + `)`, "{{state}}"}}},
			{kind: "timeseries", title: "Alerts that fire", stacked: true,
				queries: []query{{`sum by (alertname, severity) (ALERTS{alertname=~"ProviderToken.*", alertstate="firing"})`, "{{alertname}} ({{severity}})"}}},
			{kind: "timeseries", title: "Failures by reason", stacked: true,
				queries: []query{{`sum by (reason, phase) (providertoken_failing_tokens` + ofProvider + `)`, "{{reason}} ({{phase}})"}}},
		}},
		{height: 8, panels: []panel{
			{kind: "timeseries", title: "Life that is left", unit: "s", about: "Each token's, or the least of each provider where there are no series of single objects.",
				queries: []query{
					{`(providertoken_token_expiry_timestamp_seconds and on (namespace, name) providertoken_info` + ofProvider + `) - time()`, "{{namespace}}/{{name}}"},
				}},
			{kind: "timeseries", title: "Life that was left when replaced", unit: "s", about: "The tenth with the least, and the median.",
				queries: []query{
					{`histogram_quantile(0.1, sum by (provider, le) (rate(providertoken_replaced_token_validity_seconds_bucket` + ofProvider + `[$__rate_interval])))`, "{{provider}} p10"},
					{`histogram_quantile(0.5, sum by (provider, le) (rate(providertoken_replaced_token_validity_seconds_bucket` + ofProvider + `[$__rate_interval])))`, "{{provider}} p50"},
				}},
		}},
		{title: "Exchanges", height: 8, panels: []panel{
			{kind: "timeseries", title: "Exchanges by outcome", unit: "reqps", stacked: true,
				queries: []query{{`sum by (outcome) (rate(providertoken_exchanges_total` + ofProvider + `[$__rate_interval]))`, "{{outcome}}"}}},
			{kind: "timeseries", title: "Duration of an exchange", unit: "s",
				queries: []query{
					{`histogram_quantile(0.5, sum by (provider, le) (rate(providertoken_exchange_duration_seconds_bucket` + ofProvider + `[$__rate_interval])))`, "{{provider}} p50"},
					{`histogram_quantile(0.99, sum by (provider, le) (rate(providertoken_exchange_duration_seconds_bucket` + ofProvider + `[$__rate_interval])))`, "{{provider}} p99"},
				}},
			{kind: "timeseries", title: "Exchanges: waiting, under way", stacked: true, about: "Waiting by urgency: no valid token, one that expires within two minutes, or routine.",
				queries: []query{
					{`sum by (urgency) (providertoken_exchanges_waiting)`, "{{urgency}}"},
					{`sum(providertoken_exchanges_in_flight)`, "under way"},
				}},
		}},
		{height: 8, panels: []panel{
			{kind: "timeseries", title: "Lateness of refreshes", unit: "s", about: "From the planned instant until the new token was written.",
				queries: []query{
					{`histogram_quantile(0.5, sum by (provider, le) (rate(providertoken_refresh_lateness_seconds_bucket` + ofProvider + `[$__rate_interval])))`, "{{provider}} p50"},
					{`histogram_quantile(0.99, sum by (provider, le) (rate(providertoken_refresh_lateness_seconds_bucket` + ofProvider + `[$__rate_interval])))`, "{{provider}} p99"},
				}},
			{kind: "timeseries", title: "Hosts: down, throttled",
				queries: []query{
					{`max by (host) (providertoken_host_down)`, "{{host}} down"},
					{`max by (host) (providertoken_host_throttled)`, "{{host}} throttled"},
				}},
			{kind: "timeseries", title: "Logins that were frozen", about: "In an hour.",
				queries: []query{{`sum by (provider) (increase(providertoken_login_freezes_total` + ofProvider + `[1h]))`, "{{provider}}"}}},
		}},
		{title: "What fails, and what will", height: 6, panels: []panel{
			{kind: "table", title: "ProviderTokens whose refresh fails: for how long", unit: "s",
				queries: []query{{`sort_desc(max by (namespace, name, reason, credential, severity) ((time() - providertoken_failing_since_timestamp_seconds) * on (namespace, name) group_left (credential, severity) providertoken_info` + ofProvider + `))`, ""}}},
			{kind: "table", title: "Credentials: time until they end", unit: "s",
				queries: []query{{`sort(min by (provider, credential) (providertoken_credential_expiry_timestamp_seconds` + ofProvider + `) - time())`, ""}}},
		}},
		{title: "The operator", height: 8, panels: []panel{
			{kind: "timeseries", title: "Pods that were told of a new token", unit: "ops",
				queries: []query{
					{`sum by (outcome) (rate(providertoken_pod_nudges_total[$__rate_interval]))`, "{{outcome}}"},
				}},
			{kind: "timeseries", title: "Time until a pod was told", unit: "s",
				queries: []query{{`histogram_quantile(0.99, sum by (le) (rate(providertoken_propagation_duration_seconds_bucket[$__rate_interval])))`, "p99"}}},
			{kind: "timeseries", title: "Writes of status", unit: "ops",
				queries: []query{{`sum by (outcome) (rate(providertoken_status_writes_total[$__rate_interval]))`, "{{outcome}}"}}},
			{kind: "timeseries", title: "Memory, by version", unit: "bytes",
				queries: []query{{`process_resident_memory_bytes * on (instance, job) group_left (version) providertoken_build_info`, "{{instance}} {{version}}"}}},
		}},
	}
}
