#!/usr/bin/env bash
# ray 2.60.0: after one ray.init("local") in a home, `ray start --head` there wants a token of whoever connects, and
# `ray status` does not give one: it ends with an AuthenticationError and exit code 1, as if the cluster were another's.
#
# A Ray that is local leaves ~/.ray/auth_token behind, and a head node that finds the file turns authentication on. Programs
# that call ray.init() there find the token by themselves; `ray status` does with RAY_AUTH_MODE=token only. Before that file is
# there, nothing asks for one. Instead: set RAY_AUTH_MODE=token, or remove the file before the head node starts.
#
# Seen: ray 2.60.0:
#   head node, asked for its status: (0, '')
#   left by a local Ray: ['.ray/auth_token']
#   the same head node, after a local Ray: (1, 'AuthenticationError')
#   and with RAY_AUTH_MODE=token: (0, '')
"$(dirname "$0")/with_packages" ray==2.60.0 <<'PYTHON'
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

home = Path.cwd() / "home"
home.mkdir()
clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
environment = {**clean, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0"}
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
ADDRESS = "127.0.0.1:6397"


def status():
    """What a head node of a fresh start says when it is asked for its status."""
    words = ["start", "--head", "--block", "--port", "6397", "--num-cpus", "1", "--include-dashboard", "false",
             "--node-ip-address", "127.0.0.1"]  # fmt: skip
    head = subprocess.Popen([*RAY, *words], env=environment, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        for _ in range(60):
            time.sleep(2)
            asked = subprocess.run([*RAY, "status", "--address", ADDRESS], env=environment, capture_output=True, text=True)
            if asked.returncode == 0 or "AuthenticationError" in asked.stderr:
                break
        said = "AuthenticationError" if "AuthenticationError" in asked.stderr else asked.stderr[-200:]
        return asked.returncode, "" if asked.returncode == 0 else said
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait(60)


before = status()
print("head node, asked for its status:", before)
local = "import ray; ray.init('local', num_cpus=1, include_dashboard=False, log_to_driver=False); ray.shutdown()"
subprocess.run([sys.executable, "-c", local], env=environment, check=True, capture_output=True)
print("left by a local Ray:", sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()))
after = status()
print("the same head node, after a local Ray:", after)
environment["RAY_AUTH_MODE"] = "token"
told = status()
print("and with RAY_AUTH_MODE=token:", told)
assert before == (0, "")
assert after[0] != 0 and after[1] == "AuthenticationError", "changed: the token is not wanted, or is found"
assert told == (0, "")
PYTHON
