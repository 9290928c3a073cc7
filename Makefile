# The same tasks for those who like make; `python3.11 tasks.py --help` tells what each does.
PYTHON ?= python3.11

.PHONY: demo test soak check proto bench interop

demo test soak check proto bench interop:
	$(PYTHON) tasks.py $@
