package assertion

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"
)

// maxBytes is the longest assertion that is read.
const maxBytes = 8 * 1024

// jws is an assertion taken apart; nothing in it is verified.
type jws struct {
	alg, kid, typ string
	signed        []byte
	signature     []byte
	claims        members
}

// members are those of a JSON object, by their exact names. encoding/json would take "AUD" for "aud" and the last of
// two; choosing is how two readers come to differ.
type members map[string]json.RawMessage

func readJWS(token string) (*jws, error) {
	if len(token) > maxBytes {
		return nil, ErrMalformed
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, ErrMalformed
	}
	header, err := readMembers(parts[0])
	if err != nil {
		return nil, err
	}
	if _, critical := header["crit"]; critical {
		return nil, ErrMalformed
	}
	read := &jws{signed: []byte(parts[0] + "." + parts[1])}
	for name, place := range map[string]*string{"alg": &read.alg, "kid": &read.kid, "typ": &read.typ} {
		if !header.text(name, place) {
			return nil, ErrMalformed
		}
	}
	if read.claims, err = readMembers(parts[1]); err != nil {
		return nil, err
	}
	if read.signature, err = decode(parts[2]); err != nil {
		return nil, err
	}
	return read, nil
}

// decode reads base64url. The standard library skips line breaks within it; we do not.
func decode(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, ErrMalformed
	}
	decoded, err := encoding.DecodeString(part)
	if err != nil {
		return nil, ErrMalformed
	}
	return decoded, nil
}

func readMembers(part string) (members, error) {
	text, err := decode(part)
	if err != nil || !utf8.Valid(text) {
		return nil, ErrMalformed
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, ErrMalformed
	}
	found := members{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, ErrMalformed
		}
		key, ok := name.(string)
		if _, twice := found[key]; !ok || twice {
			return nil, ErrMalformed
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, ErrMalformed
		}
		found[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, ErrMalformed
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, ErrMalformed
	}
	return found, nil
}

// text reads a member that is a text. False when it is absent or something else.
func (m members) text(name string, place *string) bool {
	raw, there := m[name]
	return there && len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, place) == nil
}

// optional reads a member that is a text, null or absent. False for something else.
func (m members) optional(name string, place *string) bool {
	raw, there := m[name]
	return !there || string(raw) == "null" || m.text(name, place)
}

// seconds reads a member that is a whole number.
func (m members) seconds(name string, place *int64) bool {
	raw, there := m[name]
	return there && string(raw) != "null" && json.Unmarshal(raw, place) == nil
}
