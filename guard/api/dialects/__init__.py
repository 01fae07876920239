"""Other vendors' moderation routes: their requests, their answers, their errors."""
