"""Sends requests with a cookie jar, and prints their statuses: client.py urllib|requests URL METHOD:PATH..."""
import http.cookiejar
import sys
import urllib.error
import urllib.request

library, url, *steps = sys.argv[1:]
statuses = []
if library == "requests":
    import requests

    session = requests.Session()
    for method, path in (step.split(":") for step in steps):
        statuses.append(session.request(method, url + path).status_code)
else:
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    for method, path in (step.split(":") for step in steps):
        try:
            statuses.append(opener.open(urllib.request.Request(url + path, method=method)).status)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
print(*statuses)
