"""Who runs what, where and when. Celery delivers work; the database holds truth."""
