package assertion

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// encoding is base64url without padding, and with nothing left over.
var encoding = base64.RawURLEncoding.Strict()

// Key verifies assertions. It fixes the algorithm; the assertion never does.
type Key struct {
	hmac    []byte
	ed25519 ed25519.PublicKey
}

// Algorithm is alg of what the key verifies.
func (k Key) Algorithm() string {
	switch {
	case k.hmac != nil:
		return "HS256"
	case k.ed25519 != nil:
		return "EdDSA"
	}
	return ""
}

// String prints no key.
func (k Key) String() string { return "Key(" + k.Algorithm() + ")" }

// GoString prints no key.
func (k Key) GoString() string { return k.String() }

// verifies compares HMACs in constant time.
func (k Key) verifies(message, signature []byte) bool {
	switch {
	case k.hmac != nil:
		mac := hmac.New(sha256.New, k.hmac)
		mac.Write(message)
		return hmac.Equal(mac.Sum(nil), signature)
	case k.ed25519 != nil:
		return ed25519.Verify(k.ed25519, message, signature)
	}
	return false
}

// KeySet holds keys by their ids. While a key is changed, two are valid: add both. A set is not changed while it is
// used; to renew one, make another and exchange the two behind Verifier.Keys.
type KeySet map[string]Key

// Key is the key of this id, for Verifier.Keys.
func (s KeySet) Key(kid string) (Key, bool) {
	key, ok := s[kid]
	return key, ok
}

// AddHMAC adds the service's own key, as the control API shows it: base64url of at least 32 bytes.
func (s KeySet) AddHMAC(kid, key string) error {
	bytes, err := encoding.DecodeString(key)
	if err != nil || len(bytes) < 32 {
		return fmt.Errorf("assertion: key %q is not base64url of at least 32 bytes", kid)
	}
	return s.add(kid, Key{hmac: bytes})
}

// AddJWKS adds the fleet's keys: the body of /.well-known/portcullis-assertion-jwks.json, which every hostname of the
// gateway serves. A key stands there a day before it signs; reading the set once an hour is enough. The whole set is
// refused when one of its keys is no Ed25519 key (RFC 8037).
func (s KeySet) AddJWKS(body []byte) error {
	var set struct {
		Keys []struct {
			Kid, Kty, Crv, X string
		}
	}
	if err := json.Unmarshal(body, &set); err != nil || set.Keys == nil {
		return fmt.Errorf("assertion: the key set is not a JWK set (RFC 7517 §5)")
	}
	added := KeySet{}
	for _, jwk := range set.Keys {
		x, err := encoding.DecodeString(jwk.X)
		if err != nil || len(x) != ed25519.PublicKeySize || jwk.Kty != "OKP" || jwk.Crv != "Ed25519" {
			return fmt.Errorf("assertion: key %q of the set is not an Ed25519 key (RFC 8037)", jwk.Kid)
		}
		if _, there := s[jwk.Kid]; there {
			return fmt.Errorf("assertion: two keys have the id %q", jwk.Kid)
		}
		if err := added.add(jwk.Kid, Key{ed25519: x}); err != nil {
			return err
		}
	}
	for kid, key := range added {
		s[kid] = key
	}
	return nil
}

func (s KeySet) add(kid string, key Key) error {
	if _, there := s[kid]; there {
		return fmt.Errorf("assertion: two keys have the id %q", kid)
	}
	s[kid] = key
	return nil
}
