// Package assertion verifies x-md-global-assertion, with which the Portcullis gateway proves to a service who is calling.
//
// The gateway signs one assertion a request: for this service (aud), this method, canonical path and host, this tenant
// and subject, for 60 seconds. A request that carries none, or one made for anything else, did not come through the
// gateway as it stands. A service that verifies need not trust its network.
//
//	keys := assertion.KeySet{}
//	if err := keys.AddHMAC(kid, key); err != nil { … } // GET /v1/upstreams/{id}/assertion-key
//	verifier := &assertion.Verifier{Audience: "orders", Keys: keys.Key}
//	http.ListenAndServe(address, verifier.Middleware(mux))
//
// In a handler, assertion.FromContext(r.Context()) says who is calling. Middleware is a func(http.Handler) http.Handler
// and so is a filter of Kratos's HTTP server as well: http.Filter(verifier.Middleware). Where there is no *http.Request,
// Verify takes method, target, host and header fields.
//
// What is proven is in Assertion. Other x-md-global-* headers (roles, plan, …) are removed from every inbound request by
// the gateway and set by it, but not signed: they are as trustworthy as the way between gateway and service. The id
// headers of tenant, user and request are compared with the assertion and may be relied on.
//
// Replays: within its 60 seconds the same assertion holds for the same method, path and host. A service for which that
// matters keeps Assertion.RequestID for that long and refuses one it has seen.
package assertion
