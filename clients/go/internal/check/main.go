// Command check reads one JSON object a line and answers each on a line of its own: for {"path"} the canonical form or
// null, for {"request", …} the code of the error or "ok". The gateway's own tests ask it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"

	assertion "github.com/portcullis-gateway/portcullis/clients/go"
)

type question struct {
	Path    *string
	Request *assertion.Request
	// How the service verifies.
	Audience string
	HMAC     map[string]string
	JWKS     json.RawMessage
	Now      int64
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fail(err)
		}
		answer, err := asked.answer()
		if err != nil {
			fail(err)
		}
		if err := answers.Encode(answer); err != nil {
			fail(err)
		}
	}
	if err := lines.Err(); err != nil {
		fail(err)
	}
}

func (q question) answer() (any, error) {
	if q.Path != nil {
		if canonical, ok := assertion.CanonicalPath(*q.Path); ok {
			return canonical, nil
		}
		return nil, nil
	}
	keys := assertion.KeySet{}
	for kid, key := range q.HMAC {
		if err := keys.AddHMAC(kid, key); err != nil {
			return nil, err
		}
	}
	if q.JWKS != nil {
		if err := keys.AddJWKS(q.JWKS); err != nil {
			return nil, err
		}
	}
	if q.Request == nil {
		return nil, fmt.Errorf("neither path nor request")
	}
	verifier := assertion.Verifier{Audience: q.Audience, Keys: keys.Key}
	if q.Now != 0 {
		verifier.Now = func() time.Time { return time.Unix(q.Now, 0) }
	}
	if _, err := verifier.Verify(*q.Request); err != nil {
		return err.Error(), nil
	}
	return "ok", nil
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "check:", err)
	os.Exit(1)
}
