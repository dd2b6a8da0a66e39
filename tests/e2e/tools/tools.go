//go:build tools

// Package tools pins the CRI clients that the end-to-end tests drive.
package tools

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo" // what critest -parallel runs itself with
	_ "sigs.k8s.io/cri-tools/cmd/crictl"
	_ "sigs.k8s.io/cri-tools/cmd/critest"
)
