# Every target installs what it needs from the lock file; nothing else is set up by hand.
.PHONY: install check test demo generate

install: node_modules/.package-lock.json

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-fund --no-audit
	@touch $@

check: install
	npm run -s check

test: check
	npm test

demo: install
	KEEP=$(KEEP) npm run -s demo

generate: install
	npm run -s generate
