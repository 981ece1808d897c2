"""Tables, transactions, audit trail, queue, embedded server, the auditor's views.

Alone in writing SQL. Every write goes through a function that also writes its audit event.
"""
