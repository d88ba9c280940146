package assertion

import (
	"context"
	"net/http"
)

type contextKey struct{}

// FromContext is the assertion that the middleware verified; nil outside of it.
func FromContext(ctx context.Context) *Assertion {
	said, _ := ctx.Value(contextKey{}).(*Assertion)
	return said
}

// Middleware lets only requests pass that carry a valid assertion, which they then have in their context. Everything
// else is answered 403 with the code of the Error.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said, err := v.VerifyRequest(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, said)))
	})
}

// VerifyRequest is Verify for a request that a server of net/http received.
func (v *Verifier) VerifyRequest(r *http.Request) (*Assertion, error) {
	// URL.Path is decoded and has lost what was sent; RequestURI has not.
	return v.Verify(Request{Method: r.Method, Target: r.RequestURI, Host: r.Host, Header: r.Header})
}
