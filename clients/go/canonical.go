package assertion

import "strings"

const upperHex = "0123456789ABCDEF"

// CanonicalPath brings a path (as it stands in the request line, without the query) into the form in which the gateway
// decides on it, signs it and forwards it (RFC 3986 §6.2.2): unreserved characters decoded, percent-encodings in upper
// case. False for what has two readings, which the gateway refuses, too.
func CanonicalPath(path string) (string, bool) {
	if !strings.HasPrefix(path, "/") {
		return "", false
	}
	var out strings.Builder
	out.Grow(len(path))
	for at := 0; at < len(path); at++ {
		b := path[at]
		if b != '%' {
			if !isPathByte(b) {
				return "", false
			}
			out.WriteByte(b)
			continue
		}
		if at+2 >= len(path) {
			return "", false
		}
		high, ok1 := unhex(path[at+1])
		low, ok2 := unhex(path[at+2])
		if !ok1 || !ok2 {
			return "", false
		}
		at += 2
		switch decoded := high<<4 | low; {
		case decoded == '/', decoded == '\\', decoded == '.', decoded == ';', decoded < 0x20, decoded == 0x7f:
			return "", false
		case isUnreserved(decoded):
			out.WriteByte(decoded)
		default:
			out.WriteByte('%')
			out.WriteByte(upperHex[high])
			out.WriteByte(upperHex[low])
		}
	}
	canonical := out.String()
	segments := strings.Split(canonical[1:], "/")
	for at, segment := range segments {
		if segment == "." || segment == ".." || segment == "" && at < len(segments)-1 {
			return "", false
		}
	}
	return canonical, true
}

// percentEncode writes a subject as the gateway does in x-md-global-user-id.
func percentEncode(text string) string {
	var out strings.Builder
	for at := 0; at < len(text); at++ {
		if b := text[at]; isUnreserved(b) || b == '@' || b == '+' {
			out.WriteByte(b)
		} else {
			out.WriteByte('%')
			out.WriteByte(upperHex[b>>4])
			out.WriteByte(upperHex[b&15])
		}
	}
	return out.String()
}

func unhex(b byte) (byte, bool) {
	switch {
	case '0' <= b && b <= '9':
		return b - '0', true
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10, true
	case 'A' <= b && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}

// RFC 3986 §2.3.
func isUnreserved(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		b == '-' || b == '.' || b == '_' || b == '~'
}

// pchar of RFC 3986 §3.3 and "/", without ";".
func isPathByte(b byte) bool {
	return isUnreserved(b) || strings.IndexByte("/!$&'()*+,=:@", b) >= 0
}
