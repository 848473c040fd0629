"""Receive and reconcile: observe, decide, remember, apply, follow, tell.

`receiving` answers webhooks and `manual` people; whatever they write down in a journal (`memory`)
is finished by `reconcile` and `tell`, in whichever replica holds the claim (`claims`). What a
delivery changes is pure (`remember`), and so is what there is to tell (`story`) and show (`views`).
"""
