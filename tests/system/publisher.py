"""A device process that publishes until it is killed, or until all is delivered: publisher.py STATE_DIR URL COUNT."""

import sys
import threading
from pathlib import Path

from appliance.config import MessagingSettings
from appliance.core.clock import SystemClock, read_boot_id
from appliance.core.health import HealthBoard
from appliance.core.message import Message
from appliance.messaging.worker import Messaging


def main() -> None:
    state_dir, url, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    messaging = Messaging(
        device_id="dev",
        settings=MessagingSettings.model_validate({"broker": url, "replay_rate": 0}),
        state_dir=state_dir,
        clock=SystemClock(),
        boot_id=read_boot_id(),
        board=HealthBoard(),
    )
    stop = threading.Event()
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in messaging.workers]
    for thread in threads:
        thread.start()
    pause = threading.Event()
    for number in range(count):
        messaging.publish(Message("door/events", {"n": number}, durable=True, camera="door"))
        pause.wait(0.002)
        if number % 50 == 0:
            print("last", messaging.figures()["last_seq"], flush=True)
    while not (messaging.figures()["connected"] and messaging.is_drained()):
        pause.wait(0.05)
    print("drained", messaging.figures()["last_seq"], flush=True)
    stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
