# Edgecam. `make` lists what can be done; CONTRIBUTING.md says how we work.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# Programs that were fetched for us come first; Debian keeps mosquitto in /usr/sbin, which users do not search.
export PATH := $(CURDIR)/.tools/bin:$(PATH):/usr/sbin
# The environment sees the system's packages (libcamera, systemd), but never what lies in somebody's home.
export PYTHONNOUSERSITE := 1
export CAMERA MODEL MODELS BROKER CONFIG STATE_DIR DEVICE_ID ONCE CLIP JSON ARGS MINUTES DATA CUTS SEED KILLS \
  PICTURES TUF_CONFORMANCE ARCHITECTURES SYSTEM PACKAGES LONG SCENE

.PHONY: help setup run test test-system test-picamera2 test-vm test-firstboot test-arm64 image-test deb lint-deb check-deb image lint format bench prove accuracy link powercut \
  powercut-update wear wear-system kills month delivery fleet fleet-cost conformance \
  docs lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 } /^## / { sub(/^## /, "               "); print }' Makefile

setup: .venv/.dev ## Make .venv with all that developing and testing need; no root, nothing goes into the system

run: .venv/.runtime ## Watch a camera, send events to a broker on loopback, print a line for each; Ctrl-C ends it
##   CAMERA=clip.mp4|folder|/dev/video0|rtsp://…|synthetic  MODEL=name|file.onnx  BROKER=mqtt://host|none
##   CONFIG=edgecam.toml (its broker and state_dir count)  STATE_DIR=folder  DEVICE_ID=name  ONCE=1 (end with the clip)
	@state=$${STATE_DIR:-}; if [ -z "$${CONFIG:-}" ]; then state=$${state:-.state} BROKER="$${BROKER:-embedded}"; fi; \
	exec $(BIN)/edgecam run $${CONFIG:+--config "$$CONFIG"} $${state:+--state-dir "$$state"} \
	  $${BROKER:+--broker "$$BROKER"} $${CAMERA:+--camera "$$CAMERA"} $${MODEL:+--model "$$MODEL"} \
	  $${DEVICE_ID:+--device-id "$$DEVICE_ID"} $${ONCE:+--once}

test: .venv/.dev ## Run all tests, with a real mosquitto, fetched into .tools when there is none (ARGS="-k outbox")
	@scripts/get-mosquitto
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $$ARGS

lint: .venv/.dev ## Check style, format, types and which room imports which
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev ## Format the code
	@$(BIN)/ruff format

bench: .venv/.runtime ## Time models on this machine, then the loop against the bare inference session (JSON=1)
##   MODELS=name|file|folder (for the table)  MODEL=file.onnx CLIP=clip.mp4 (for the loop)
	@trouble=0; \
	$(BIN)/edgecam bench $${MODELS:+"$$MODELS"} $${JSON:+--json} || trouble=$$?; \
	echo; $(BIN)/python tests/bench/loop.py $${MODEL:+--model "$$MODEL"} $${CLIP:+--clip "$$CLIP"} $${JSON:+--json} || trouble=$$?; \
	exit $$trouble

prove: .venv/.dev ## See whether the drawn street and a clip are told rightly (MODEL=name|file.onnx|folder MINUTES=5)
##   CLIP=one-by-one-person-detection.mp4 of github.com/intel-iot-devkit/sample-videos (CC BY 4.0); skipped without it
	@trouble=0; \
	$(BIN)/python -m tests.proof.street $${MODEL:+--model "$$MODEL"} $${MINUTES:+--minutes "$$MINUTES"} || trouble=$$?; \
	echo; $(BIN)/python -m tests.proof.clip $${MODEL:+--model "$$MODEL"} $${CLIP:+--clip "$$CLIP"} || trouble=$$?; \
	exit $$trouble

link: .venv/.dev ## Find half-open links with the settings as they come, restart the broker of 500 devices; minutes
	@scripts/get-mosquitto
	@$(BIN)/python -m pytest -s tests/proof/link_at_length.py $$ARGS

accuracy: .venv/.dev ## Measure others' detectors on COCO photographs, each against its own figure (JSON=1)
##   DATA=folder with models/ and eval/coco_val400; else ../shared/data, and nothing is measured without it
	@$(BIN)/python -m tests.proof.accuracy $${DATA:+--data "$$DATA"} $${JSON:+--json}

powercut: .venv/.dev ## Cut the power of real messaging at random writes; CUTS=3000 SEED=1 (root, /dev/fuse, loop devices)
	@scripts/get-mosquitto
	@$(BIN)/python -m tests.powercut --cuts $${CUTS:-300} --seed $${SEED:-1} $${JSON:+--json} $${CI:+--may-skip}

powercut-update: .venv/.dev ## Cut the power at random writes of a model's update; CUTS=600 SEED=1 (likewise)
	@$(BIN)/python -m tests.powercut.updates --cuts $${CUTS:-600} --seed $${SEED:-1} $${JSON:+--json} $${CI:+--may-skip}

kills: .venv/.dev ## Kill daemon and broker in random order while events flow, and audit what arrives; KILLS=200 SEED=1
	@scripts/get-mosquitto
	@$(BIN)/python -m tests.proof.kills --kills $${KILLS:-200} --seed $${SEED:-1} $${JSON:+--json}

month: .venv/.dev ## Put 30 days of events into the outbox without a broker, then drain it with live events between them
	@scripts/get-mosquitto
	@$(BIN)/python -m tests.proof.month $${JSON:+--json}

delivery: .venv/.dev ## Time the drain of what is on disk, and its CPU, beside bare paho with all in memory (JSON=1)
	@scripts/get-mosquitto
	@$(BIN)/python -m tests.bench.delivery $${JSON:+--json}

wear: .venv/.dev ## Count the bytes and flushes that an event costs the disk (root, /dev/fuse, loop devices; JSON=1)
	@scripts/get-mosquitto
	@$(BIN)/python -m tests.powercut.wear $${JSON:+--json}

fleet: .venv/.dev ## Have a daemon take bad releases from a fleet: none stays in service; minutes
	@scripts/get-mosquitto
	@$(BIN)/python -m pytest -s tests/system/fleet_at_length.py tests/system/fleet_faults_at_length.py \
	  tests/system/sealed_at_length.py tests/system/fleet_tasks_at_length.py $$ARGS

fleet-cost: .venv/.dev ## Measure what a fleet costs its web server, on the wire (JSON=1; PICTURES=folder: a delta, too)
	@$(BIN)/python -m tests.bench.fleet_cost $${PICTURES:+--pictures "$$PICTURES"} $${JSON:+--json}

conformance: .venv/.dev ## Run The Update Framework's conformance suite against our client; needs faketime
##   TUF_CONFORMANCE=folder, a checkout of github.com/theupdateframework/tuf-conformance  ARGS="-k rollback"
	@test -d "$${TUF_CONFORMANCE:-}/tuf_conformance" || { echo "give TUF_CONFORMANCE=FOLDER; see docs/fleet.md" >&2; exit 64; }
	@command -v faketime >/dev/null || { echo "faketime is missing; do: apt install faketime" >&2; exit 69; }
	@bin="$$(realpath -s $(BIN))"; cd "$$TUF_CONFORMANCE" && PYTHONPATH="$(CURDIR)" "$$bin/python" -m pytest -p no:cacheprovider \
	  tuf_conformance --entrypoint "$$bin/python $(CURDIR)/tests/conformance/tuf_client.py" $$ARGS

docs: .venv/.dev ## Write docs/configuration.md, docs/asyncapi.yaml and docs/schemas again from the code
	@$(BIN)/python -m appliance.cli.reference >docs/configuration.md.new
	@mv docs/configuration.md.new docs/configuration.md
	@$(BIN)/edgecam-workbench schemas --output docs
	@$(BIN)/python -m appliance.workbench.publishing.schemas docs/schemas/fleet

deb: .venv/.runtime ## Build the Debian packages into dist/, no root (ARCHITECTURES="amd64 arm64")
	@scripts/deb $$ARCHITECTURES

lint-deb: .venv/.runtime ## Have lintian judge the application's package: an error fails; seconds, no root
	@scripts/lint-deb

check-deb: .venv/.dev ## Build them twice: the same bytes, and lintian finds no error; minutes, no root (ARCHITECTURES="amd64")
	@scripts/check-packages $$ARCHITECTURES

image: .venv/.runtime ## Make the first-boot bundle for a Raspberry Pi OS Lite card of the packages, into dist/card
##   then scripts/flash /dev/sdX --setup edgecam-setup.toml writes the card (scripts/flash --help)
	@scripts/image

test-system: .venv/.dev ## Install the packages under a real systemd in a container and break things; needs root
##   SYSTEM=bookworm|trixie|noble (made once by mmdebstrap)  PACKAGES=folder (else the packages are built)  LONG=1 (all)
	@scripts/get-mosquitto
	@scripts/test-system

test-picamera2: .venv/.dev ## Run the real picamera2 with libcamera's virtual camera in the unit; needs root
##   the system with both is made once by mmdebstrap and pip, which takes minutes
	@scripts/get-mosquitto
	@SYSTEM=picamera2 scripts/test-system

test-vm: .venv/.dev ## Install the packages on an emulated machine: memory, devices, a camera's driver, a watchdog; root, many minutes
##   for nights, not for every change; the guest is made once by mmdebstrap  PACKAGES=folder (else the packages are built)
	@scripts/get-mosquitto
	@scripts/test-vm

test-firstboot: .venv/.dev ## Boot such cards with a real cloud-init, and cut their power; minutes, needs root (CUTS=20)
##   SYSTEM=trixie|bookworm  PACKAGES=folder (else the packages are built)  SEED=7
	@scripts/get-mosquitto
	@scripts/test-firstboot

wear-system: .venv/.dev ## Count what the installed unit has written to its card in an hour; needs root
##   SCENE=idle|busy MINUTES=60, with the packages and the SYSTEM of test-system, which makes them
	@scripts/get-mosquitto
	@EDGECAM_ROOT="$$(scripts/get-root $${SYSTEM:-bookworm})" EDGECAM_PACKAGES="$${PACKAGES:-dist/test}" \
	  $(BIN)/python -m tests.device.wear $${SCENE:-idle} --minutes $${MINUTES:-60} $${JSON:+--json}

test-arm64: .venv/.dev ## Install the packages into an arm64 Debian under qemu, and compare detections with x86-64; needs root
##   minutes, the first time more (the SYSTEM, trixie|bookworm, is made once by mmdebstrap); PACKAGES=folder (else they are built)
	@scripts/test-arm64 packages

image-test: .venv/.dev ## Make a disk of such a system, boot it on an emulated board and look at it from inside; needs root
##   minutes; PACKAGES=folder (else they are built)
	@scripts/get-mosquitto
	@scripts/test-arm64 image

lock: ## Resolve the dependencies again, for every Python and processor we run on (UPGRADE=1: to the newest)
	@scripts/lock $${UPGRADE:+--upgrade}

clean: ## Remove what the other targets have made, .state and its outbox included
	rm -rf .venv .tools .state .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each level of the environment is installed once for each change of what it is made from.
.venv/.runtime: requirements/demo.lock requirements/build.lock pyproject.toml scripts/setup
	@scripts/setup runtime "$(PYTHON)"

.venv/.dev: requirements/dev.lock requirements/build.lock pyproject.toml scripts/setup
	@scripts/setup dev "$(PYTHON)"
