"""Web sites of our own to act on: each a folder with pages, seeded data and tasks.

A site is a folder here, or in a folder that is appended to `__path__`, that holds a `site.py` with
a `SITE`; it is found by that, so adding one changes nothing elsewhere. The folders are plain data
to the build, and namespace packages to Python: they have no `__init__.py`.

::

    sites/core.py       Site, Episode: a task on a database of its own
    sites/contract.py   what a template of tasks says: goal, check, milestones, oracle, mutants
    sites/database.py   restoring a database, and what has changed in it since
    sites/look.py       themes, layouts, languages and distractions
    sites/web.py        the ASGI application that serves every site
    sites/common/       templates that sites share
    sites/shop/         an online shop
    sites/admin/        a back office

Only `web` and the modules of pages need the extra `web`; goals, checks and oracles do not.
"""
