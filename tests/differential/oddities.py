"""Odd parts of requests: each list has values for the place of a usual one."""

from __future__ import annotations

Header = tuple[bytes, bytes]

# What may stand in the place of a row's id.
IDS = [
    b"0", b"01", b"007", b"-1", b"+1", b"1.0", b"1e0", b"0x1", b"1_0", b"%31", b"%2B1", b"1%20",
    b"%201", b"1%00", b"%00", b"1%0A", b"1%0D%0A", b"1%2F", b"%2F1", b"1%3Fskip=0", b"1;a=b",
    b"2147483647", b"2147483648", b"99999999999", b"9" * 30, b"9" * 5000, b"1" * 300, b"\xd9\xa1",
    b"%D9%A1", b"%EF%BC%91", b"%C0%B1", b"%E0%80%B1", b"%FF", b"\xff", b"%", b"%3", b"%zz",
    b"%u0031", b"1/", b"1//", b"1/.", b"1/..", b"1/../2", b".", b"..", b"./1", b"a", b"*", b"1?",
    b"1?skip=0", b"1?limit=999", b"1?a=b&a=c", b"1#a", b"1?#", b"1??", b"1&limit=1",
]  # fmt: skip
# What may follow the question mark of a list.
QUERIES = [
    b"", b"&", b"&&", b"=", b"=1", b"skip", b"skip=", b"limit=", b"skip=&limit=", b"limit=&limit=5",
    b"limit=010", b"limit=+1", b"limit=%2B1", b"limit=1.0", b"limit=1e1", b"limit=-1", b"limit=0",
    b"limit=00", b"limit=0x5", b"limit=101", b"limit=1001", b"limit=100", b"limit=0000000100",
    b"limit=" + b"0" * 17 + b"5", b"limit=" + b"0" * 18 + b"5", b"limit=" + b"9" * 18,
    b"limit=" + b"9" * 19, b"limit=" + b"9" * 3000, b"skip=" + b"9" * 18, b"skip=" + b"9" * 40,
    b"skip=2147483647", b"skip=2147483648", b"skip=-0", b"skip=-1", b"skip=00", b"skip=1_0",
    b"limit=5&skip=3", b"skip=3&limit=5", b"limit=5&limit=6", b"skip=0&skip=9&limit=5",
    b"limit=5&limit=101", b"limit=101&limit=5", b"limit=5&LIMIT=6", b"Limit=5", b"limit =5", b"a=b",
    b"skip=3&a=b&limit=5", b"limit=5&a", b"limit=5&", b"&limit=5", b"limit=5;skip=3", b"limit=%35",
    b"l%69mit=5", b"limit=5%20", b"limit=%205", b"limit=5+", b"limit=+5", b"+limit=5",
    b"limit=5%00", b"limit%00=5", b"limit=5%26skip=3", b"limit=5%0A", b"limit=%D9%A5",
    b"limit=\xd9\xa5", b"limit=%EF%BC%95", b"limit=%FF", b"limit=\xff", b"limit=%C0%B5", b"limit=%",
    b"limit=%zz", b"limit=5#skip=3", b"limit=5?skip=3", b"limit[]=5", b"limit=5,6", b"limit=True",
    b"limit=null",
]  # fmt: skip
# Request targets that are near the addresses of reads.
PATHS = [
    b"/%70roducts/1", b"/%2570roducts/1", b"/products%2F1", b"/products%2f1", b"%2Fproducts/1",
    b"//products/1", b"/products//1", b"///products", b"/products/", b"/products//", b"/products/?",
    b"/./products/1", b"/../products/1", b"/a/../products/1", b"/products/./1", b"/products/%2E",
    b"/Products/1", b"/PRODUCTS", b"/products;a", b"/products%00", b"/products%20", b"/products%3F",
    b"/products\xff", b"/product%C3%A9s", b"/products.json", b"/products?", b"/products??limit=5",
    b"/categories/", b"/categories?", b"//categories/1", b"/categorie%73/1", b"/categories/1/",
    b"http://shop.test/products/1", b"http://other.test/products/1", b"HTTP://shop.test/products",
    b"https://shop.test/products/1", b"http://shop.test:99/products?limit=5", b"http:///products/1",
    b"http://shop.test", b"http://", b"ftp://shop.test/products/1", b"shop.test:80", b"products/1",
    b"http://user@shop.test/products/1", b"*", b"/*", b"?limit=5", b"#", b"/products/1#",
    b"\\products",
]  # fmt: skip
# What may stand in the place of GET.
METHODS = [
    b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"PROPFIND", b"CONNECT",
    b"get", b"Get", b"GETS", b"QUERY", b"GE T", b"G\xc9T", b"",
]  # fmt: skip
# What may stand in the place of HTTP/1.1.
VERSIONS = [
    b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"",
]  # fmt: skip
# Values of Host.
HOSTS = [
    b"shop.test:8000", b"SHOP.TEST", b"127.0.0.1", b"[::1]", b"[::1]:80", b"[::1", b"::1", b"",
    b"shop_test", b"shop.test.", b"shop.test:", b"shop.test:x", b"shop.test:99999", b"shop test",
    b"shop.test,other", b"<a>", b"shop.test/a", b"shop.test?a", b"user@shop.test", b"sh\xf6p.test",
    b"xn--shp-sna.test", b"-", b".", b"*", b"shop.test:80:80", b"h" * 300, b"h" * 5000, b"%41.test",
]  # fmt: skip
# Values of X-Request-ID.
REQUEST_IDS = [
    b"an-id", b"a" * 64, b"a" * 65, b"a" * 4000, b"", b"a b", b"a\tb", b"a,b", b"a;b", b"\xe9",
    b"\xc3\xa9", b"0123456789abcdef0123456789abcdef", b"a.b_c-D9", b"../a", b'"a"', b"<a>",
    b"a%0Ab", b"\x7f", b"-",
]  # fmt: skip
# Values of X-Forwarded-For.
FORWARDED = [
    b"", b",", b" ", b"unknown", b"_hidden", b"1.2.3", b"1.2.3.4.5", b"256.1.1.1", b"01.02.03.04",
    b"192.0.2.1,", b",192.0.2.1", b"192.0.2.1,,192.0.2.2", b"192.0.2.1, unknown", b'"192.0.2.1"',
    b"192.0.2.1:80", b"192.0.2.1:", b"192.0.2.1:x", b"192.0.2.1 192.0.2.2", b" 192.0.2.1 ",
    b"2001:db8::1", b"2001:DB8:0:0:0:0:0:2", b"[2001:db8::3]", b"[2001:db8::4]:80", b"[2001:db8::5",
    b"2001:db8::1%eth0", b"::ffff:192.0.2.1", b"::", b"fe80::1, 2001:db8::6", b"\xe9",
    b"192.0.2.\xb1", b"192.0.2.1, 192.0.2.2, 192.0.2.3", b"a, " * 1000 + b"192.0.2.4", b"9" * 5000,
    b"192.0.2.1;a",
]  # fmt: skip
VALUES = {b"Host": HOSTS, b"X-Request-ID": REQUEST_IDS, b"X-Forwarded-For": FORWARDED}
# Headers that change nothing, or ought to be refused.
HEADERS: list[list[Header]] = [
    [(b"If-Modified-Since", b"Sat, 01 Jan 2050 00:00:00 GMT")],
    [(b"If-Modified-Since", b"yesterday")],
    [(b"If-Unmodified-Since", b"Sat, 01 Jan 2000 00:00:00 GMT")],
    [(b"If-Match", b'"a"')],
    [(b"If-Range", b'"a"'), (b"Range", b"bytes=0-5")],
    [(b"Range", b"bytes=0-5")],
    [(b"Range", b"bytes=5-1,x")],
    [(b"Accept", b"text/html")],
    [(b"Accept", b"application/json;q=0")],
    [(b"Accept", b"")],
    [(b"Accept-Encoding", b"gzip, br")],
    [(b"Accept-Encoding", b"identity;q=0, *;q=0")],
    [(b"Accept-Language", b"es")],
    [(b"Accept-Charset", b"utf-16")],
    [(b"Cache-Control", b"no-cache"), (b"Pragma", b"no-cache")],
    [(b"Cache-Control", b"no-store, max-age=0")],
    [(b"Cache-Control", b"only-if-cached")],
    [(b"Expect", b"100-continue")],
    [(b"Expect", b"a-miracle")],
    [(b"Content-Length", b"0")],
    [(b"Content-Length", b"00")],
    [(b"Content-Length", b"-1")],
    [(b"Content-Length", b"+0")],
    [(b"Content-Length", b"a")],
    [(b"Content-Length", b"0"), (b"Content-Length", b"0")],
    [(b"Content-Length", b"0"), (b"Transfer-Encoding", b"chunked")],
    [(b"Content-Type", b"application/json")],
    [(b"Content-Type", b"multipart/form-data")],
    [(b"Transfer-Encoding", b"gzip")],
    [(b"Cookie", b"session=a; b=c")],
    [(b"Cookie", b"session=" + b"a" * 3000)],
    [(b"X-HTTP-Method-Override", b"DELETE")],
    [(b"X-HTTP-Method", b"DELETE"), (b"X-Method-Override", b"DELETE")],
    [(b"X-Forwarded-Host", b"other.test"), (b"X-Forwarded-Proto", b"https")],
    [(b"X-Forwarded-Prefix", b"/api"), (b"X-Script-Name", b"/api")],
    [(b"Script-Name", b"/api"), (b"Path-Info", b"/categories")],
    [(b"SCRIPT_NAME", b"/api")],
    [(b"X-Original-URL", b"/categories"), (b"X-Rewrite-URL", b"/categories")],
    [(b"X_Forwarded_For", b"192.0.2.1")],
    [(b"If_None_Match", b"*")],
    [(b"Forwarded", b"for=192.0.2.1;host=other.test")],
    [(b"X-Real-IP", b"192.0.2.1"), (b"Client-IP", b"192.0.2.1")],
    [(b"Host", b"other.test")],
    [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings")],
    [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")],
    [(b"Connection", b"close")],
    [(b"Connection", b"Close")],
    [(b"Connection", b"keep-alive")],
    [(b"Connection", b"keep-alive, close")],
    [(b"Connection", b"X-Forwarded-For, If-None-Match")],
    [(b"Keep-Alive", b"timeout=1, max=1"), (b"Connection", b"Keep-Alive")],
    [(b"TE", b"trailers"), (b"Trailer", b"A")],
    [(b"Origin", b"https://other.test")],
    [(b"Origin", b"null")],
    [(b"Origin", b"https://other.test"), (b"Access-Control-Request-Method", b"PUT")],
    [(b"Date", b"Sat, 01 Jan 2000 00:00:00 GMT"), (b"Via", b"1.1 a"), (b"Max-Forwards", b"0")],
    [(b"User-Agent", b"\xff\xfe"), (b"Referer", b"http://a/\r\n b")],
    [(b"A", b"a")] * 101,
    [(b"A", b"a" * 7000)],
    [(b"A", b"a" * 9000)],
    [(b"A b", b"a")],
    [(b"A ", b"a")],
    [(b"", b"a")],
    [(b"A", b"a\x00b")],
    [(b"A", b"a\rb")],
    [(b"A\xe9", b"a")],
]


def near(address: bytes) -> list[bytes]:
    """Return request targets that are almost an address, or another way to write it."""
    path, _, query = address.partition(b"?")
    more = address + (b"&" if query else b"?")
    backwards = path + b"?" + b"&".join(reversed(query.split(b"&")))
    encoded = b"%b%%%02X" % (address[:-1], address[-1])
    return [
        backwards, encoded, more, more + b"limit=1", more + b"skip=1", more + b"skip=0",
        more + b"a=b", more + b"limit=101", more + b"limit", more + b"&", address + b"0",
        address + b"#a", address + b"%20", address + b"%00", address + b"+", address + b"/",
        b"/" + address,
        path + b"/?" + query, path + b"?a=b&" + query, path + b"?skip=1&" + query, path,
        path.upper() + b"?" + query, path + b"?" + query.upper(), path + b"/.?" + query,
        path + b"??" + query, address.replace(b"=", b"=0"), address.replace(b"=", b"%3D"),
        address.replace(b"&", b"&&"), address.replace(b"&", b";"), address.replace(b"/", b"//"),
        b"http://shop.test" + address, b"http://other.test" + address, b"/a/.." + address,
    ]  # fmt: skip


def conditions(exact: bytes, other: bytes) -> list[bytes]:
    """Return values of If-None-Match for an ETag, and that of another document."""
    bare = exact.strip(b'"')
    return [
        exact, b"W/" + exact, b"w/" + exact, b"W/ " + exact, b"W/", b"*", b'"*"', b"* ", b'*, "a"',
        bare, exact[:-1], exact[1:], b'"' + exact + b'"', exact.upper(), b"'" + bare + b"'", b"",
        b'""', b'"a"', b",", b'"', b'"""', b"  " + exact + b"\t", b'"' + bare + b' "',
        b'"a", ' + exact, exact + b', "a"', exact + exact, exact + b'"a"', exact + b";a",
        b"," + exact, b"a " + exact, b'"a" "b", ' + exact, b'W/"a",' + exact + b",W/" + other,
        other, bare[:5], b'"a\\"", ' + exact, b'"' + bare + b"\x00" + b'"', b"\xe9, " + exact,
        b'"\xe9", ' + exact, b'"a,' + bare + b'"', b'"a", ' * 500 + exact, b'"a", ' * 1500 + exact,
        b"a" * 3000,
    ]  # fmt: skip


def authorizations(key: bytes, unknown: bytes) -> list[bytes]:
    """Return values of Authorization for a key, and for an unknown key."""
    return [
        b"Bearer " + key, b"bearer " + key, b"BEARER  " + key + b" ", b"Bearer\t" + key,
        b"Bearer" + key, b"Bearer " + unknown, b"Bearer " + unknown, b"Bearer", b"Bearer ", b"",
        key, b"Basic YTpi", b"Digest a", b"Bearer " + key.upper(), b"Bearer " + key[:-1],
        b"Bearer " + key + b"a", b'Bearer "' + key + b'"', b"Bearer " + key + b", Bearer a",
        b"Bearer \xe9", b"Token " + key, b"Bearer " + b"a" * 3000,
    ]  # fmt: skip


def headers(exact: bytes, other: bytes, key: bytes, unknown: bytes) -> list[list[Header]]:
    """Return all odd headers, each by itself."""
    values = VALUES | {
        b"If-None-Match": conditions(exact, other),
        b"Authorization": authorizations(key, unknown),
    }
    return HEADERS + [[(name, one)] for name, some in values.items() for one in some]
