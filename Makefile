# Every target installs what it needs from the lock file; nothing else is set up by hand.
.PHONY: install check test demo bench torture mutants generate image image-start bench-controller chaos fuzz e2e

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

# TORTURE_INSERTS says how many inserts race against cleanups on each form of the foreign key; 20000 without it.
torture: install
	npm run -s torture

mutants: install
	npm run -s mutants

# SIZE (XS, S, M, L; several with commas), SCENARIO and ROUNDS choose; without them S and M, and M shuffled.
bench: install
	npm run -s bench -- $(if $(SIZE),--size $(SIZE)) $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SHUFFLED),--shuffled) $(if $(OUTPUT),--output $(OUTPUT))

# POLICIES and MINUTES (of quiet) choose; 5000 and 11 without them.
bench-controller: install
	npm run -s bench-controller -- $(if $(POLICIES),--policies $(POLICIES)) $(if $(MINUTES),--minutes $(MINUTES))

# Faults, with 500 policies; ONLY chooses by a part of the name.
chaos: install
	npm run -s chaos -- $(if $(ONLY),--only "$(ONLY)") $(if $(POLICIES),--policies $(POLICIES))

# Policies drawn at random; COUNT (10000 without it) and SEED choose.
fuzz: install
	npm run -s fuzz -- $(if $(COUNT),--count $(COUNT)) $(if $(SEED),--seed $(SEED))

# By docker, podman or buildah; IMAGE, NODE_IMAGE and BUILD_OPTIONS: see build/image.sh.
image:
	sh build/image.sh

# How long the program takes in a container of that image until its first SQL; ENGINE is docker or podman.
image-start: install
	npm run -s image-start -- $(or $(ENGINE),docker) $(or $(IMAGE),retention-operator:$(shell node -p "require('./package.json').version"))

# Helm, controller and runs on a real node with a real kubelet: one brought up here (Debian, root; E2E_INSTALL=yes installs
# what it needs by apt-get), or KUBECONFIG's. Without either it says so, and passes.
e2e: install
	npm run -s e2e
