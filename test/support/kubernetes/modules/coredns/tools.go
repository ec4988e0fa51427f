//go:build tools

package corednsbin

import _ "github.com/coredns/coredns"
