"""Nobody saws off the branch they sit on: what would change the caller's own application or user is asked of nobody's."""

import os

import schemathesis

OWN = set(os.environ["GATEHOUSE_OWN"].split())
NOBODY = "00000000-0000-4000-8000-000000000000"


@schemathesis.hook
def before_call(context, case, kwargs):
    if case.method != "GET" and case.path_parameters.get("id") in OWN:
        case.path_parameters["id"] = NOBODY
