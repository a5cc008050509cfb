"""Follows the ConfigMaps of a namespace with the official Python client's informer: follow.py NAMESPACE.

A line for each thing that the informer does: `list REVISION`, `watch REVISION`, `add|update|delete NAME REVISION`,
`error TEXT`; and once it knows the ConfigMap `end`, its whole cache: `view {"NAME": "REVISION", ...}`.
"""

import functools
import json
import sys
import threading

from kubernetes import client, config, informer

NAMESPACE = sys.argv[1]
done = threading.Event()


def say(*words):
    print(*words, flush=True)


def told(list_config_maps):
    """The same function for the informer (which lists and watches by it), and a line for each call."""

    @functools.wraps(list_config_maps)
    def call(**options):
        if options.get("watch"):
            say("watch", options.get("resource_version"))
            return list_config_maps(**options)
        answer = list_config_maps(**options)
        say("list", answer.metadata.resource_version)
        return answer

    return call


def tell(what, config_map):
    say(what, config_map.metadata.name, config_map.metadata.resource_version)
    if config_map.metadata.name == "end" and what != "delete":
        done.set()


config.load_kube_config()
follower = informer.SharedInformer(told(client.CoreV1Api().list_namespaced_config_map), namespace=NAMESPACE)
for event, what in ((informer.ADDED, "add"), (informer.MODIFIED, "update"), (informer.DELETED, "delete")):
    follower.add_event_handler(event, functools.partial(tell, what))
follower.add_event_handler(informer.ERROR, lambda error: say("error", " ".join(str(error).split())))
follower.start()
done.wait()
view = {each.metadata.name: each.metadata.resource_version for each in follower.cache.list()}
say("view", json.dumps(view))
