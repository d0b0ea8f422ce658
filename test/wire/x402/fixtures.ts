import type * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"

export const usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
export const payee = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
export const url = "https://api.example.com/data"

export const entryV1 = {
  scheme: "exact",
  network: "base-sepolia",
  maxAmountRequired: "10000",
  resource: url,
  description: "paid data",
  mimeType: "application/json",
  outputSchema: null,
  payTo: payee,
  maxTimeoutSeconds: 60,
  asset: usdc,
  extra: { name: "USDC", version: "2" }
}

export const entryV2 = {
  scheme: "exact",
  network: "eip155:84532",
  amount: "10000",
  asset: usdc,
  payTo: payee,
  maxTimeoutSeconds: 300,
  extra: { name: "USDC", version: "2" }
}

export const resource = { url, description: "paid data", mimeType: "application/json" }

export const bodyV1 = (accepts: ReadonlyArray<Schema.Json>, more: Schema.JsonObject = {}): Schema.JsonObject => ({
  x402Version: 1,
  error: "X-PAYMENT header is required",
  accepts,
  ...more
})

export const jsonV2 = (accepts: ReadonlyArray<Schema.Json>, more: Schema.JsonObject = {}): Schema.JsonObject => ({
  x402Version: 2,
  resource,
  accepts,
  ...more
})

export const headerV2 = (accepts: ReadonlyArray<Schema.Json>, more: Schema.JsonObject = {}): string =>
  Json.toBase64(jsonV2(accepts, more))
