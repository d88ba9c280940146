package assertion

import (
	"net/netip"
	"strings"
	"time"
)

// Header is the field that carries the assertion.
const Header = "x-md-global-assertion"

// Skew is how far the gateway's clock and ours may differ, where Verifier.Skew does not say.
const Skew = 30 * time.Second

// Error is why a request is not believed to have come through the gateway. Its text is a stable code, the same in the
// Rust library.
type Error string

// Error is the code.
func (e Error) Error() string { return string(e) }

// Why a request is refused.
const (
	ErrMissing     = Error("assertion_missing")       // there is none
	ErrRepeated    = Error("header_repeated")         // a field that decides stands there more than once
	ErrMalformed   = Error("assertion_malformed")     // it cannot be read in one way
	ErrType        = Error("assertion_type")          // a token of another type, such as an access token
	ErrKeyUnknown  = Error("assertion_key_unknown")   // no key has its kid
	ErrAlgorithm   = Error("assertion_algorithm")     // another algorithm than its key's
	ErrSignature   = Error("assertion_signature")     // the signature does not hold
	ErrIssuer      = Error("assertion_issuer")        // not the gateway's
	ErrAudience    = Error("assertion_audience")      // for another service
	ErrExpired     = Error("assertion_expired")       // past its exp
	ErrNotYetValid = Error("assertion_not_yet_valid") // signed in the future
	ErrMethod      = Error("assertion_method")        // for another method
	ErrPath        = Error("assertion_path")          // for another path
	ErrHost        = Error("assertion_host")          // for another host
	ErrTenant      = Error("assertion_tenant")        // for another tenant than the header's or this service's
	ErrSubject     = Error("assertion_subject")       // for another caller than the header says
	ErrRequestID   = Error("assertion_request_id")    // for another request than the header says
)

// Assertion is what the gateway says of a request. A non-nil one was verified against that request.
type Assertion struct {
	Audience  string     // the service: the upstream's name
	IssuedAt  time.Time  // when it was signed
	ExpiresAt time.Time  // from when on it holds no more
	Tenant    string     // the tenant's id; empty on hostnames of several tenants for anonymous callers
	Subject   string     // who is calling; empty for anonymous callers
	Method    string     // method
	Path      string     // path in canonical form, without the query
	Host      string     // the hostname the client asked for, without port
	RequestID string     // the request's id, the same in the gateway's log
	Client    netip.Addr // the client's address; zero when it is not said
}

// HostCheck says what the assertion's host is compared with.
type HostCheck int

const (
	// HostOfRequest is the request's own Host: for upstreams of host: preserve.
	HostOfRequest HostCheck = iota
	// HostForwarded is x-forwarded-host: for upstreams of host: rewrite, which do not see the client's Host.
	HostForwarded
)

// Verifier verifies assertions for one service. It is not changed while it is used.
type Verifier struct {
	// Audience is the name by which the gateway knows this service: its upstream's.
	Audience string
	// Keys is asked for the key of an id on every request; it does not wait and does not fetch.
	Keys func(kid string) (Key, bool)
	// Tenant is the id of the only tenant that is served; empty for all.
	Tenant string
	// Host is what the assertion's host is compared with.
	Host HostCheck
	// Skew is how far clocks may differ; 0 for 30 s.
	Skew time.Duration
	// Now is the time; nil for the system's clock.
	Now func() time.Time
}

// Request is a request as it was received.
type Request struct {
	// Method.
	Method string
	// Target is the request target as it stood in the request line, query and all.
	Target string
	// Host is the Host field, or :authority of HTTP/2.
	Host string
	// Header holds the header fields; names in any case.
	Header map[string][]string
}

// Verify verifies the assertion of a request. An error, always an Error, says that the request did not come through the
// gateway as it stands.
func (v *Verifier) Verify(request Request) (*Assertion, error) {
	fields, err := only(request.Header, Header, "x-md-global-tenant-id", "x-md-global-user-id",
		"x-md-global-request-id", "x-forwarded-host", "host")
	if err != nil {
		return nil, err
	}
	token := fields[Header]
	if token == nil {
		return nil, ErrMissing
	}
	said, err := v.signed(*token)
	if err != nil {
		return nil, err
	}
	if said.Audience != v.Audience || v.Audience == "" {
		return nil, ErrAudience
	}
	if err := v.inTime(said); err != nil {
		return nil, err
	}
	if said.Method != request.Method {
		return nil, ErrMethod
	}
	path, _, _ := strings.Cut(request.Target, "?")
	if canonical, ok := CanonicalPath(path); !ok || canonical != said.Path {
		return nil, ErrPath
	}
	if host, ok := v.host(request, fields); !ok || host != said.Host {
		return nil, ErrHost
	}
	if v.Tenant != "" && v.Tenant != said.Tenant {
		return nil, ErrTenant
	}
	differs := func(name, expected string) bool { sent := fields[name]; return sent != nil && *sent != expected }
	switch {
	case differs("x-md-global-tenant-id", said.Tenant):
		return nil, ErrTenant
	case differs("x-md-global-user-id", percentEncode(said.Subject)):
		return nil, ErrSubject
	case differs("x-md-global-request-id", said.RequestID):
		return nil, ErrRequestID
	}
	return said, nil
}

func (v *Verifier) signed(token string) (*Assertion, error) {
	read, err := readJWS(token)
	if err != nil {
		return nil, err
	}
	if read.typ != "assertion+jwt" {
		return nil, ErrType
	}
	if v.Keys == nil {
		return nil, ErrKeyUnknown
	}
	key, ok := v.Keys(read.kid)
	if !ok {
		return nil, ErrKeyUnknown
	}
	if read.alg != key.Algorithm() || read.alg == "" {
		return nil, ErrAlgorithm
	}
	if !key.verifies(read.signed, read.signature) {
		return nil, ErrSignature
	}
	return read.claims.assertion()
}

func (m members) assertion() (*Assertion, error) {
	said := &Assertion{}
	var issuer, client string
	var issuedAt, expiresAt int64
	if !m.text("iss", &issuer) || !m.text("aud", &said.Audience) || !m.seconds("iat", &issuedAt) ||
		!m.seconds("exp", &expiresAt) || !m.optional("tid", &said.Tenant) || !m.optional("sub", &said.Subject) ||
		!m.text("htm", &said.Method) || !m.text("htu", &said.Path) || !m.text("host", &said.Host) ||
		!m.text("rid", &said.RequestID) || !m.optional("cip", &client) {
		return nil, ErrMalformed
	}
	if client != "" {
		address, err := netip.ParseAddr(client)
		if err != nil {
			return nil, ErrMalformed
		}
		said.Client = address
	}
	if issuer != "portcullis" {
		return nil, ErrIssuer
	}
	said.IssuedAt, said.ExpiresAt = time.Unix(issuedAt, 0), time.Unix(expiresAt, 0)
	return said, nil
}

func (v *Verifier) inTime(said *Assertion) error {
	now, skew := time.Now(), v.Skew
	if v.Now != nil {
		now = v.Now()
	}
	if skew == 0 {
		skew = Skew
	}
	if !now.Before(said.ExpiresAt.Add(skew)) {
		return ErrExpired
	}
	if said.IssuedAt.After(now.Add(skew)) {
		return ErrNotYetValid
	}
	return nil
}

// host is the host that was asked for, as the gateway writes it.
func (v *Verifier) host(request Request, fields map[string]*string) (string, bool) {
	if v.Host == HostForwarded {
		if forwarded := fields["x-forwarded-host"]; forwarded != nil {
			return normalHost(*forwarded), true
		}
		return "", false
	}
	// net/http moves Host out of the header fields; others leave it there, and then the two agree.
	if sent := fields["host"]; sent != nil {
		if request.Host != "" && normalHost(request.Host) != normalHost(*sent) {
			return "", false
		}
		return normalHost(*sent), true
	}
	return normalHost(request.Host), request.Host != ""
}

// normalHost is lower case, without port and trailing dot.
func normalHost(authority string) string {
	if colon := strings.LastIndexByte(authority, ':'); colon >= 0 &&
		strings.Trim(authority[colon+1:], "0123456789") == "" {
		authority = authority[:colon]
	}
	return strings.ToLower(strings.TrimSuffix(authority, "."))
}

// only reads fields that may stand there once at most, by their names in lower case.
func only(header map[string][]string, names ...string) (map[string]*string, error) {
	found := map[string]*string{}
	for name, values := range header {
		for _, wanted := range names {
			if !strings.EqualFold(name, wanted) || len(values) == 0 {
				continue
			}
			if len(values) > 1 || found[wanted] != nil {
				return nil, ErrRepeated
			}
			value := values[0]
			found[wanted] = &value
		}
	}
	return found, nil
}
