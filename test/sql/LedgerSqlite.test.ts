import { suite } from "../LedgerTest.ts"
import { layerSqlite } from "./temporary.ts"

suite("LedgerSql.layerSqlite", layerSqlite, { runs: 10 })
