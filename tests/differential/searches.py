"""Odd queries of searches."""

from __future__ import annotations

# What may follow the question mark of a list of products.
SEARCHES = [
    b"q=", b"q", b"q=%00", b"q=%FF", b"q=\xff", b"q=a&q=a", b"q=%22", b"q=%22rake", b"q=-",
    b"q=--", b"q=-rake", b"q=+", b"q=%20", b"q=%0A", b"q=rake%26limit=1", b"q=rake;sort=price",
    b"q=%2B", b"q=RAKE", b"q=r%C3%A2ke", b"q=ra%CC%82ke", b"q=r\xc3\xa2ke", b"q=rake+",
    b"q=++rake", b"q=rake%00", b"q=" + b"a" * 200, b"q=" + b"a" * 201,
    b"q=" + b"%F0%9F%8C%B1" * 200, b"q=" + b"a" * 3000, b"q=" + b"a+" * 100, b"q=%ED%A0%80",
    b"q=%EF%BC%91", b"q=:*%7C%21&", b"q='", b"q=%5C", b"q=%25", b"category_id=", b"category_id=1,",
    b"category_id=,1", b"category_id=1,,2", b"category_id=1,1", b"category_id=2,1",
    b"category_id=1%2C2", b"category_id=1%2c2", b"category_id=01", b"category_id=1+",
    b"category_id=0", b"category_id=a", b"category_id=1&category_id=2", b"category_id=2147483648",
    b"category_id=" + b",".join(b"%d" % n for n in range(1, 101)),
    b"category_id=" + b",".join(b"%d" % n for n in range(1, 102)), b"category_id=" + b"1," * 3000,
    b"min_price=1", b"min_price=1.50&category_id=1", b"min_price=1.5&category_id=1",
    b"min_price=01.5&category_id=1", b"min_price=1e1", b"min_price=-1", b"min_price=NaN",
    b"min_price=.5", b"min_price=1.", b"min_price=+1", b"min_price=%31&category_id=1",
    b"min_price=", b"max_price=0&category_id=1", b"max_price=" + b"9" * 11, b"max_price=1,5",
    b"max_price=Infinity", b"currency=EUR", b"currency=eur", b"currency=XXX", b"currency=",
    b"currency=EUR,USD", b"currency=E%55R", b"in_stock=True", b"in_stock=1", b"in_stock=true",
    b"in_stock=", b"in_stock=true&in_stock=false", b"active=true", b"active=false", b"active=",
    b"active=1", b"sort=", b"sort=Price", b"sort=price", b"sort=price&currency=EUR",
    b"currency=EUR&sort=price", b"sort=%70rice&currency=EUR", b"sort=--price", b"sort=-price,name",
    b"sort=relevance", b"sort=relevance&q=rake", b"q=rake&sort=relevance", b"sort=name&sort=name",
    b"sort=stock", b"after=", b"after=a", b"after=AAAA", b"after=%00", b"after=%FF",
    b"after=a&skip=1", b"after=" + b"A" * 2000, b"after=" + b"A" * 3000, b"after===",
    b"after=a%2Fb", b"after=a+b", b"skip=10000", b"skip=10001", b"skip=0&category_id=1",
    b"skip=1&q=rake", b"total=", b"total=1", b"total=true", b"total=false", b"total=TRUE",
    b"total=true&total=true", b"facets=", b"facets=price", b"facets=price,price", b"facets=price,",
    b"facets=stock", b"facets=in_stock,price", b"facets=price%2Cin_stock",
    b"facets=price&facets=in_stock", b"fields=", b"fields=id,id", b"fields=name,id",
    b"fields=id%2Cname", b"fields=nothing", b"fields=category", b"fields=Id",
    b"fields=category&include=category", b"include=", b"include=category", b"include=counts",
    b"include=category,category", b"id=", b"id=3", b"id=3,", b"id=3,3", b"id=03", b"id=0",
    b"id=-3", b"id=a", b"id=3&id=4", b"id=2147483647", b"id=2147483648", b"id=3%2C1", b"id=1,3",
    b"id=3,1", b"id=" + b",".join(b"%d" % n for n in range(1, 101)),
    b"id=" + b",".join(b"%d" % n for n in range(1, 102)), b"id=3&limit=1", b"id=3&total=true",
    b"id=3&fields=id", b"fields=id&id=3", b"id=1&include=category", b"id=1&sku=SKU-1",
    b"sku=SKU-1&id=1", b"sku=", b"sku=SKU-1,", b"sku=sku-1", b"sku=SKU%2D1",
    b"sku=SKU-1&sku=SKU-2", b"sku=a%20b", b"sku=%C3%A9", b"sku=" + b"a" * 64, b"sku=" + b"a" * 65,
    b"sku=SKU-3,SKU-1", b"sku=" + b"a," * 1000,
    b"sku=" + b",".join(b"SKU-%d" % n for n in range(1, 101)), b"sku=SKU-1&q=rake",
]  # fmt: skip
# What may follow that of completions.
SUGGESTIONS = [
    b"", b"q", b"q=", b"q=r", b"q=R", b"q=%72", b"q=rake", b"q=rake+", b"q=+rake", b"q=RAKE",
    b"q=caf%C3%A9", b"q=cafe", b"q=caf%E9", b"q=%00", b"q=%FF", b"q=a&q=b", b"q=rake&limit=5",
    b"q=%22", b"q=-", b"q=!", b"q=%20", b"q=%25", b"q='", b"q=%5C", b"q=" + b"a" * 200,
    b"q=" + b"a" * 201, b"q=garden+1", b"Q=rake",
]  # fmt: skip
