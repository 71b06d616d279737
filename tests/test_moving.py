"""docs/moving has every public call and setting of our ancestors, and makes up no name of ours."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from tests.citations import ROOT
from trunkline import Trunkline
from trunkline.channels.consumers import Consumers
from trunkline.config import Settings
from trunkline.cqrs.traces import Traces
from trunkline.webhooks.apps import Apps
from trunkline.webhooks.connections import Connections
from trunkline.webhooks.siblings import Siblings
from trunkline.webhooks.transmissions import Transmissions
from trunkline.webhooks.wing import Webhooks

PAGES = ROOT / "docs/moving"
BROWSER = (ROOT / "clients/js/trunkline.d.ts").read_text().partition("export class Trunkline ")[2]
#: What the README of each shows or names, as its users write it.
NAMES = {
    "message-bus": """
        publish user_ids group_ids client_ids site_id max_backlog_age max_backlog_size
        queue_in_memory subscribe local_subscribe blocking_subscribe unsubscribe
        local_unsubscribe last_id last_ids last_message backlog global_backlog
        register_client_message_filter off on off? destroy reset! after_fork configure config
        timer Middleware Diagnostics skip_message_bus_middleware backend backend_instance
        redis_config db clear_every logger enable_redis_logger chunked_encoding_enabled
        long_polling_enabled long_polling_interval max_active_clients rack_hijack_enabled
        base_route keepalive_interval allow_broadcast transport_codec site_id_lookup
        user_id_lookup group_ids_lookup is_admin_lookup on_middleware_error
        extra_response_headers_lookup on_connect on_disconnect expire_all_backlogs! get_message
        max_global_backlog_size InvalidMessage InvalidMessageTarget BusDestroyed
        DistributedCache manager: namespace app_version delete clear HTTPClient
        enable_long_polling enable_chunked_encoding min_poll_interval max_poll_interval
        background_callback_interval headers start stop channels stats status enableLongPolling
        enableChunkedEncoding callbackInterval backgroundCallbackInterval minPollInterval
        maxPollInterval minHiddenPollInterval alwaysLongPoll shouldLongPollCallback
        firstChunkTimeout retryChunkedAfterRequests baseUrl clientId ajax pause resume
        diagnostics noConflict
    """,
    "demux": """
        configure default_demuxer signal_timeout Demux::Signal attributes object_class
        signal_name account_type account_id context send payload <action>_payload object
        Demux::App secret entry_url signal_url signals account_types configuration
        signed_entry_url account_type? indicator generate_access_key Demux::Connection
        Demux::Demuxer resolve resolve_now transmit demuxer_arguments Demux::Transmission purge
    """,
    "toot": """
        config channel_prefix callback_url http_connection redis_connection publish prefix:
        source subscription_url subscribe SubscriptionsService HandlerService
        RegistersSubscriptions register_subscriptions Toot::Event CallbackFailure
        RegisterSubscriptionFailure ConfigError X-Toot-Unsubscribe auth_username
    """,
    "spool-broadcast": """
        Entry Saga BroadcastCommand BroadcastHook BroadcastEvent BroadcastProjector
        BroadcastProcessor BroadcastDispatcher BroadcastChannel BroadcastPipeline createCommand
        buildEvent broadcast lifecycle consistency lifespan priority expects_input
        expects_response expects_output dispatches_command merge push include zip data metadata
        processing retry_on_fail retry_on_timeout retry_max retry_wait retry_attempts enabled
        auto_transaction profile profiles broadcasters pipelines channels hooks projectors
        processors dispatchers prefix auto_save auto_queue connection BROADCAST_PROFILE
        hookRunner processCancelRequest progress subprogress skipped failure complete
        fail_on_error causation_uuid correlation_uuid chain_before
    """,
    "entity-sync": """
        Setup NSQAddr Mux WSPassThrough RegisterEntityAndDBHandler RegisterEntityForSync
        NotifyAllOfChange ClientBuilder BuildBridge NewDatabaseHub AddDataPullAndPushHandler
        PullDataAndPush SetupMuxBridge BuildPublisher BuildSubscriber subscribe unsubscribe
        secret EntityKey Hash GetQueueName
    """,
}
#: What the parts of a line are, whose methods the pages name too.
WINGS = {
    "apps": Apps,
    "connections": Connections,
    "consumers": Consumers,
    "siblings": Siblings,
    "traces": Traces,
    "transmissions": Transmissions,
    "webhooks": Webhooks,
}
_CELL = re.compile(r"(?<!\\)\|")


def rows(page: str) -> list[tuple[str, str]]:
    """Return the rows of a page's tables: theirs, ours."""
    text = (PAGES / f"{page}.md").read_text()
    cells = [_CELL.split(line.strip("| ")) for line in text.splitlines() if line.startswith("|")]
    return [(one[0].strip(), one[1].strip()) for one in cells if not one[0].startswith("--")]


@pytest.mark.parametrize("page", NAMES)
def test_no_call_or_setting_is_missing(page):
    theirs = " ".join(re.findall(r"`([^`]+)`", " ".join(left for left, _ in rows(page))))
    words = set(re.split(r"[\s.,(){}\"…=]+", theirs)) | set(theirs.split())
    words |= {part for word in words for part in (*word.split("::"), *word.split(":"))}
    assert [name for name in NAMES[page].split() if name not in words] == []


@pytest.mark.parametrize("page", NAMES)
def test_none_is_said_with_a_decision_that_exists(page):
    for left, right in rows(page):
        assert right, left
        if right.startswith("none"):
            found = re.search(r"\(\.\./(decisions/\d{4}-[\w-]+\.md)\)", right)
            assert found, left
            assert (ROOT / "docs" / found[1]).is_file()


@pytest.mark.parametrize("page", NAMES)
def test_every_name_of_ours_exists(page):
    ours = " ".join(right for _, right in rows(page))
    verbs = set(re.findall(r"\bline\.(\w+)", ours))
    assert [verb for verb in sorted(verbs) if not known(verb)] == []
    for wing, name in re.findall(r"\bline\.(\w+)\.(\w+)", ours):
        source = inspect.getsource(WINGS[wing])  # where it is an attribute of the object alone
        assert hasattr(WINGS[wing], name) or re.search(rf"self\.{name}\b.* = ", source), name
    for dotted in re.findall(r"`(trunkline(?:\.\w+)+)", ours):
        assert found(dotted), dotted


def test_every_option_of_the_browser_client_exists():
    types = (ROOT / "clients/js/trunkline.d.ts").read_text()
    told = [right for _, right in rows("message-bus") if right.startswith(("option ", "options "))]
    named = re.findall(r"`(\w+)`", " ".join(told))
    assert len(named) > 6
    assert [one for one in named if not re.search(rf"\b{one}\?:", types)] == []


def known(verb: str) -> bool:
    """Tell whether a line has it, here or in a browser."""
    in_browser = re.search(rf"^  (?:readonly )?{verb}\b", BROWSER, re.MULTILINE)
    return hasattr(Trunkline, verb) or verb == "settings" or in_browser is not None


def found(dotted: str) -> bool:
    """Tell whether there is such a module, or such a name in one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(thing, name):
                return False
            thing = getattr(thing, name)
        return True
    return False


def test_settings_that_are_called_the_same_are_settings():
    same = [
        name
        for left, right in rows("message-bus")
        if right.startswith("the same")
        for name in re.findall(r"`(\w+)`", left)
        if name.islower()
    ]
    settings = {one.name for one in Settings.load({}).effective()}
    wanted = {"chunked_encoding_enabled", "long_polling_enabled", "max_active_clients"}
    assert wanted <= set(same) & settings
