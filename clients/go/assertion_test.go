package assertion

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const now = 1_800_000_000

var secret = []byte("0123456789abcdef0123456789abcdef")

func header(change func(map[string]any)) string {
	return object(map[string]any{"alg": "HS256", "kid": "orders-1", "typ": "assertion+jwt"}, change)
}

func claims(change func(map[string]any)) string {
	return object(map[string]any{
		"iss": "portcullis", "aud": "orders", "iat": now, "exp": now + 60, "tid": "t-1", "sub": "ann lee",
		"htm": "GET", "htu": "/orders/%C3%A4", "host": "acme.example", "rid": "r-1", "cip": "192.0.2.7",
	}, change)
}

func object(members map[string]any, change func(map[string]any)) string {
	if change != nil {
		change(members)
	}
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func set(name string, value any) func(map[string]any) {
	return func(members map[string]any) { members[name] = value }
}

func sign(header, claims string, key []byte) string {
	signed := encoding.EncodeToString([]byte(header)) + "." + encoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	return signed + "." + encoding.EncodeToString(mac.Sum(nil))
}

func good() string { return sign(header(nil), claims(nil), secret) }

func verifier() *Verifier {
	keys := KeySet{}
	if err := keys.AddHMAC("orders-1", encoding.EncodeToString(secret)); err != nil {
		panic(err)
	}
	return &Verifier{Audience: "orders", Keys: keys.Key, Now: func() time.Time { return time.Unix(now, 0) }}
}

func request(token string) Request {
	return Request{Method: "GET", Target: "/orders/%C3%A4?page=2", Host: "acme.example", Header: map[string][]string{
		"X-Md-Global-Assertion":  {token},
		"X-Md-Global-Tenant-Id":  {"t-1"},
		"X-Md-Global-User-Id":    {"ann%20lee"},
		"X-Md-Global-Request-Id": {"r-1"},
	}}
}

func refused(t *testing.T, v *Verifier, request Request, expected error) {
	t.Helper()
	if said, err := v.Verify(request); err != expected || said != nil {
		t.Errorf("%v, expected %v", err, expected)
	}
}

func TestSaysWhoAndWhat(t *testing.T) {
	said, err := verifier().Verify(request(good()))
	if err != nil {
		t.Fatal(err)
	}
	if said.Tenant != "t-1" || said.Subject != "ann lee" || said.Path != "/orders/%C3%A4" ||
		said.Client.String() != "192.0.2.7" {
		t.Errorf("%+v", said)
	}
}

func TestAnotherSpellingOfTheSameRequestIsTheSameRequest(t *testing.T) {
	spelt := request(good())
	spelt.Target, spelt.Host = "/%6frders/%c3%a4", "ACME.example.:8443"
	if _, err := verifier().Verify(spelt); err != nil {
		t.Error(err)
	}
}

func TestRefusesASwappedRequest(t *testing.T) {
	field := func(name, value string) func(*Request) {
		return func(r *Request) { r.Header[name] = []string{value} }
	}
	for _, swap := range []struct {
		change func(*Request)
		err    error
	}{
		{func(r *Request) { delete(r.Header, "X-Md-Global-Assertion") }, ErrMissing},
		{func(r *Request) { r.Method = "POST" }, ErrMethod},
		{func(r *Request) { r.Target = "/orders/%C3%B6" }, ErrPath},
		{func(r *Request) { r.Target = "/orders/%C3%A4/" }, ErrPath},
		{func(r *Request) { r.Target = "/x/../orders/%C3%A4" }, ErrPath},
		{func(r *Request) { r.Host = "globex.example" }, ErrHost},
		{func(r *Request) { r.Host = "" }, ErrHost},
		{field("Host", "globex.example"), ErrHost},
		{field("X-Md-Global-Tenant-Id", "t-2"), ErrTenant},
		{field("X-Md-Global-User-Id", "bob"), ErrSubject},
		{field("X-Md-Global-Request-Id", "r-2"), ErrRequestID},
		{func(r *Request) {
			r.Header["X-Md-Global-Assertion"] = append(r.Header["X-Md-Global-Assertion"], good())
		}, ErrRepeated},
		{func(r *Request) { r.Header["x-md-global-assertion"] = []string{good()} }, ErrRepeated},
		{func(r *Request) { r.Header["X-Md-Global-Tenant-Id"] = []string{"t-1", "t-1"} }, ErrRepeated},
	} {
		sent := request(good())
		swap.change(&sent)
		refused(t, verifier(), sent, swap.err)
	}
}

func TestRefusesAnotherTime(t *testing.T) {
	for at, expected := range map[int64]error{
		now - 31: ErrNotYetValid, now - 30: nil, now + 89: nil, now + 90: ErrExpired,
	} {
		v := verifier()
		v.Now = func() time.Time { return time.Unix(at, 0) }
		if _, err := v.Verify(request(good())); err != expected {
			t.Errorf("%d: %v, expected %v", at-now, err, expected)
		}
	}
}

func TestRefusesAnotherKeyTypeAlgorithmAudienceOrIssuer(t *testing.T) {
	for token, expected := range map[string]error{
		sign(header(nil), claims(nil), []byte(strings.Repeat("x", 32))): ErrSignature,
		good() + "AAAA": ErrSignature,
		sign(header(set("typ", "at+jwt")), claims(nil), secret):   ErrType,
		sign(header(set("alg", "none")), claims(nil), secret):     ErrAlgorithm,
		sign(header(set("alg", "EdDSA")), claims(nil), secret):    ErrAlgorithm,
		sign(header(set("kid", "other")), claims(nil), secret):    ErrKeyUnknown,
		sign(header(nil), claims(set("aud", "billing")), secret):  ErrAudience,
		sign(header(nil), claims(set("iss", "somebody")), secret): ErrIssuer,
	} {
		refused(t, verifier(), request(token), expected)
	}
}

func TestRefusesWhatCannotBeReadInOneWay(t *testing.T) {
	twice := func(text, name string) string { return strings.Replace(text, "{", `{"`+name+`":"x",`, 1) }
	for _, token := range []string{
		"", "a.b", good() + ".x", strings.Replace(good(), ".", "=.", 1), strings.Replace(good(), ".", "\n.", 1),
		sign(twice(header(nil), "alg"), claims(nil), secret),
		sign(header(nil), twice(claims(nil), "tid"), secret),
		sign(header(set("crit", []string{"b64"})), claims(nil), secret),
		sign(header(nil), claims(set("iat", 1.5)), secret),
		sign(header(nil), claims(set("exp", "1800000060")), secret),
		sign(header(nil), claims(set("exp", nil)), secret),
		sign(header(nil), strings.Replace(claims(nil), `"htm"`, `"HTM"`, 1), secret),
		sign(header(nil), "[]", secret),
		sign(header(nil), claims(nil)+" x", secret),
		strings.Repeat("A", 9000),
	} {
		refused(t, verifier(), request(token), ErrMalformed)
	}
}

func TestAServiceOfOneTenantServesThatTenantOnly(t *testing.T) {
	v := verifier()
	v.Tenant = "t-2"
	refused(t, v, request(good()), ErrTenant)
}

func TestBehindARewrittenHostTheForwardedOneCounts(t *testing.T) {
	v := verifier()
	v.Host = HostForwarded
	sent := request(good())
	sent.Host = "orders.internal"
	refused(t, v, sent, ErrHost)
	sent.Header["X-Forwarded-Host"] = []string{"acme.example"}
	if _, err := v.Verify(sent); err != nil {
		t.Error(err)
	}
	sent.Header["X-Forwarded-Host"] = []string{"globex.example"}
	refused(t, v, sent, ErrHost)
}

func TestTheFleetsKeysVerifyWhatOneOfThemSigned(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := KeySet{}
	jwk := `{"kid": "f1", "kty": "OKP", "crv": "Ed25519", "x": "` + encoding.EncodeToString(public) + `"}`
	if err := keys.AddJWKS([]byte(`{"keys": [` + jwk + `]}`)); err != nil {
		t.Fatal(err)
	}
	v := verifier()
	v.Keys = keys.Key
	head := header(func(m map[string]any) { m["alg"], m["kid"] = "EdDSA", "f1" })
	signed := encoding.EncodeToString([]byte(head)) + "." + encoding.EncodeToString([]byte(claims(nil)))
	signature := encoding.EncodeToString(ed25519.Sign(private, []byte(signed)))
	if _, err := v.Verify(request(signed + "." + signature)); err != nil {
		t.Error(err)
	}
	_, other, _ := ed25519.GenerateKey(nil)
	forged := encoding.EncodeToString(ed25519.Sign(other, []byte(signed)))
	refused(t, v, request(signed+"."+forged), ErrSignature)
	// HS256 keyed with the public key (CVE-2015-9235).
	refused(t, v, request(sign(header(set("kid", "f1")), claims(nil), public)), ErrAlgorithm)

	for _, bad := range []string{"[]", "{}", `{"keys": [` + jwk + "," + jwk + `]}`, `{"keys": [{"kid": "r", "kty": "RSA"}]}`} {
		if err := (KeySet{}).AddJWKS([]byte(bad)); err == nil {
			t.Errorf("%s is a key set", bad)
		}
	}
}

func TestTheMiddlewareLetsNothingPastTheGatewayThrough(t *testing.T) {
	handler := verifier().Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, FromContext(r.Context()).Subject)
	}))
	for token, expected := range map[string]int{good(): 200, "": 403} {
		sent := httptest.NewRequest("GET", "/orders/%C3%A4", nil)
		sent.Host = "acme.example"
		if token != "" {
			sent.Header.Set(Header, token)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, sent)
		if answer.Code != expected {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
	}
}

func TestNoKeyIsPrinted(t *testing.T) {
	keys := KeySet{}
	if err := keys.AddHMAC("k", encoding.EncodeToString(secret)); err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{fmt.Sprint(keys), fmt.Sprintf("%+v %#v", keys, keys)} {
		if strings.Contains(printed, "48 49 50") || strings.Contains(printed, "0x30") || !strings.Contains(printed, "Key(HS256)") {
			t.Error(printed)
		}
	}
	if err := (KeySet{}).AddHMAC("k", "c2hvcnQ"); err == nil {
		t.Error("a short key is taken")
	}
}

func TestSpellingsOfOnePathAreOnePath(t *testing.T) {
	for spelt, canonical := range map[string]string{
		"/": "/", "/a/": "/a/", "/%61": "/a", "/%e4": "/%E4", "/%E4%2a": "/%E4%2A", "/a:b@c,d=e": "/a:b@c,d=e",
	} {
		if read, ok := CanonicalPath(spelt); !ok || read != canonical {
			t.Errorf("%s: %s", spelt, read)
		}
	}
	for _, path := range []string{
		"", "*", "a", "/%", "/%4", "/%zz", "/%2f", "/%2E", "/%00", "/%3b", "/a;b", `/a\b`, "/a b", "/a?b", "/ä", "//",
		"/a//b", "/./a", "/a/..",
	} {
		if read, ok := CanonicalPath(path); ok {
			t.Errorf("%s: %s", path, read)
		}
	}
}
