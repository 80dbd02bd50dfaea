"""Checks webhooks with the reference library of Standard Webhooks: lines of JSON in, one word a line out."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    asked = json.loads(line)
    try:
        Webhook(asked["secret"]).verify(asked["body"], asked["headers"])
        print("verified")
    except WebhookVerificationError as e:
        print(f"refused: {e}")
