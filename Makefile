# Two commands: `make chat` trains a small model and talks with it; `make test` checks everything.
# Each sets itself up in .venv first. PYTHON=python3.12 chooses another Python (3.11 or later).

PYTHON ?= python3
PIP := .venv/bin/pip install --quiet --disable-pip-version-check -c requirements.lock

.PHONY: chat test clean

chat: .venv/.ready
	@.venv/bin/understudy chat

test: .venv/.ready-dev
	@./check

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "understudy needs Python 3.11 or later; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	@touch $@

.venv/.ready: .venv/.made pyproject.toml requirements.lock
	@echo "Installing into .venv (a minute or two)"
	@$(PIP) --editable .
	@touch $@

.venv/.ready-dev: .venv/.made pyproject.toml requirements.lock
	@echo "Installing into .venv, with what the tests need (a minute or two)"
	@$(PIP) --editable '.[dev]'
	@touch $@ .venv/.ready

clean:
	rm -rf .venv
