"""Sends requests with a cookie jar, and prints their statuses: client.py urllib|requests|httpx URL METHOD:PATH..."""
import http.cookiejar
import ssl
import sys
import urllib.error
import urllib.request

library, url, *steps = sys.argv[1:]
statuses = []
# The certificate of the test is nobody's.
if library == "requests":
    import requests

    requests.packages.urllib3.disable_warnings()
    session = requests.Session()

    def send(method, address):
        return session.request(method, address, verify=False)

elif library == "httpx":
    import httpx

    send = httpx.Client(verify=False).request
else:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPCookieProcessor(jar), urllib.request.HTTPSHandler(context=context)
    )

    def send(method, address):
        try:
            response = opener.open(urllib.request.Request(address, method=method))
            response.status_code = response.status
            return response
        except urllib.error.HTTPError as error:
            error.status_code = error.code
            return error


for method, path in (step.split(":") for step in steps):
    statuses.append(send(method, url + path).status_code)
print(*statuses)
