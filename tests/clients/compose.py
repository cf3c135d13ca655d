"""Checks a file of Docker Compose, and prints it as JSON with its merged keys.

    python compose.py FILE
"""

import json
import sys

import yaml
from compose_spec import PyCompose

with open(sys.argv[1], encoding="utf-8") as file:
    text = json.dumps(yaml.safe_load(file))
# Unknown keys and wrong values are errors; so are volumes and networks that are not declared.
PyCompose.from_json(text).validate()
print(text)
