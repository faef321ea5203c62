"""``mobileface serve``: the tasks, the gallery and live cameras over HTTP, with a web page.

`settings` reads ``serve.toml``; `service` holds what all requests share: models, the gallery and a
bounded queue; `http` has the routes; `page` the web page. Needs the extra ``[serve]``.
"""
