# Makes the Parquet files beside it: pyarrow 26.0.1, numpy.
import datetime, decimal
import numpy as np, pyarrow as pa, pyarrow.parquet as pq

n = 700
i = np.arange(n)
hole = (i % 11 == 3)
null = lambda values, kind: pa.array(values, type=kind, mask=hole)
weather = np.array(["rain", "clear", "\u00e9clair", "snow"])[(i * 7) % 4]
table = pa.table({
    "i8": pa.array((i % 256 - 128).astype("int8")),
    "u8": pa.array((i % 256).astype("uint8")),
    "i16": null((i * 90 - 31000).astype("int16"), pa.int16()),
    "u16": pa.array((65535 - i).astype("uint16")),
    "i32": null((i - 350) * 1000003, pa.int32()),
    "u32": pa.array((4294967295 - i).astype("uint32")),
    "i64": null((i - 350) * 10**12, pa.int64()),
    "u64": pa.array((18446744073709551615 - i.astype("uint64") * 4096)),
    "f16": pa.array((i / 8 - 40).astype("float16")),
    "f32": null((i / 7).astype("float32"), pa.float32()),
    "f64": pa.array(np.where(i == 5, np.nan, np.sqrt(i)), type=pa.float64()),
    "bool": null(i % 3 == 0, pa.bool_()),
    "d5": pa.array([decimal.Decimal(int(k) - 350) / 100 for k in i], type=pa.decimal128(5, 2)),
    "d25": pa.array([decimal.Decimal(int(k) - 350) * 10**15 / 10**6 for k in i], type=pa.decimal128(25, 6)),
    "weather": null(weather, pa.string()),
    "category": pa.DictionaryArray.from_arrays(pa.array((i * 5) % 3), pa.array(["b", "a", "c", "unused"])),
    "nothing": pa.nulls(n),
    "day": pa.array([datetime.date(2011, 1, 1)] * n),
    "time": pa.array([datetime.datetime(2011, 1, 1, 7)] * n, type=pa.timestamp("us")),
    "list": pa.array([[1, 2]] * n),
})
sizes = dict(row_group_size=300, data_page_size=512, write_batch_size=32, write_statistics=False)
pq.write_table(table, "kinds.parquet", compression="snappy", **sizes)
flat = table.select(["f64", "weather", "i32", "bool", "i64"])
pq.write_table(flat, "plain.zstd.parquet", compression="zstd", use_dictionary=False, data_page_version="2.0", **sizes)
pq.write_table(flat, "lz4.parquet", compression="lz4", write_page_index=True, **sizes)
pq.write_table(flat, "gzip.parquet", compression="gzip", version="1.0", **sizes)
pq.write_table(flat.slice(0, 90), "brotli.parquet", compression="brotli")
