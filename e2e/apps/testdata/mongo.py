# SPDX-License-Identifier: Apache-2.0
"""A client of MongoDB's protocol; prints "ok".

    mongo.py ADDRESS
"""

import concurrent.futures
import sys

import pymongo

client = pymongo.MongoClient(sys.argv[1], 27017, serverSelectionTimeoutMS=30000)
collection = client.apps.documents
THREADS, EACH = 8, 250


def work(thread):
    first = thread * EACH
    collection.insert_many([{"_id": i, "thread": thread, "text": str(i) * 200} for i in range(first, first + EACH)])
    for i in range(first, first + EACH, 10):
        assert collection.find_one({"_id": i})["text"] == str(i) * 200
        assert collection.update_one({"_id": i}, {"$set": {"text": "changed"}}).modified_count == 1
    assert sum(len(d["text"]) > 0 for d in collection.find({"thread": thread})) == EACH
    assert collection.count_documents({"thread": thread, "text": "changed"}) == EACH // 10
    assert collection.delete_many({"thread": thread, "text": "changed"}).deleted_count == EACH // 10


with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
    for result in [pool.submit(work, i) for i in range(THREADS)]:
        result.result()
assert collection.count_documents({}) == THREADS * (EACH - EACH // 10)
print("ok")
