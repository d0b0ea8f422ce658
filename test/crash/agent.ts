/** The agent that pays in this test: the same in the processes that are killed and in the one that looks afterwards. */
import { PgClient } from "@effect/sql-pg"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Agent from "../../src/Agent.ts"
import * as Asset from "../../src/Asset.ts"
import * as Budget from "../../src/Budget.ts"
import type * as Ledger from "../../src/Ledger.ts"
import type * as PaymentError from "../../src/PaymentError.ts"
import * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as TempoSession from "../../src/rails/TempoSession.ts"
import * as TokenSession from "../../src/rails/TokenSession.ts"
import * as RetryPolicy from "../../src/RetryPolicy.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as Wallet from "../../src/Wallet.ts"
import type { Setup } from "./protocol.ts"

export const window = Duration.hours(24)

const pathUsd = (network: string) =>
  new Asset.Asset({
    network,
    address: "0x20c0000000000000000000000000000000000000",
    symbol: "pathUSD",
    decimals: 6,
    usd: true,
    testnet: true
  })

const usdc = (network: string) =>
  new Asset.Asset({
    network,
    address: "0x036cbd53842c5426634e7929541ec2318f3dcf7e",
    symbol: "USDC",
    decimals: 6,
    usd: true,
    testnet: true,
    domain: { name: "USDC", version: "2" }
  })

export const ledgerOf = (where: Setup["ledger"]) =>
  "filename" in where
    ? LedgerSql.layerSqlite({ filename: where.filename })
    : LedgerSql.layer().pipe(
      Layer.provide(PgClient.layer({ url: Redacted.make(where.database), maxConnections: 4 }))
    )

/** Tries as often in an outage as the defaults, without waiting as long. */
const impatient = Layer.succeed(RetryPolicy.RetryPolicy, {
  ...RetryPolicy.defaults,
  Unavailable: Schedule.spaced("50 millis").pipe(
    Schedule.setInputType<PaymentError.Unavailable>(),
    Schedule.upTo({ times: 4 })
  )
})

export const layer = <LE>(setup: Setup, parts: {
  readonly ledger: Layer.Layer<Ledger.Ledger, LE>
  readonly client: Layer.Layer<HttpClient.HttpClient>
  readonly wallet?: (wallet: Wallet.Wallet["Service"]) => Wallet.Wallet["Service"]
}) => {
  const { agent, credential, endpoint, evm, mode, privateKey, sweep, tempo } = setup
  const wallet = Layer.effect(
    Wallet.Wallet,
    Effect.map(Wallet.Wallet, parts.wallet ?? ((it) => it))
  ).pipe(Layer.provide(Wallet.layerPrivateKey(Redacted.make(privateKey))))
  return Agent.layer({
    agentId: agent,
    budget: Budget.make({ limit: "40", window }),
    rails: Layer.mergeAll(
      TokenSession.layer({ credential: Redacted.make(credential), endpoint, origins: ["*"] }),
      TempoCharge.layer({ mode }),
      TempoSession.layer(),
      EvmCharge.layer({ networks: [evm.network] }),
      ExactEvm.layer({ networks: [evm.network] })
    ).pipe(Layer.provide(wallet)),
    ledger: parts.ledger,
    assets: [pathUsd(tempo.network), usdc(evm.network)],
    rpc: { [tempo.network]: tempo.rpcUrl, [evm.network]: evm.rpcUrl },
    attach: ["/own/tariff/"],
    sweep
  }).pipe(Layer.provide(parts.client), Layer.provideMerge(impatient))
}
