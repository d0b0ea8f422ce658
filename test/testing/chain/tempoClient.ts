/** Official clients of a local Tempo chain. */
import { Redacted } from "effect"
import { createClient, http, type LocalAccount } from "viem"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import { tempoLocalnet } from "viem/chains"
import { Addresses } from "viem/tempo"
import type * as Tempo from "../../../src/testing/chain/Tempo.ts"

/** An account that nobody has heard of. */
export const stranger = (): LocalAccount => privateKeyToAccount(generatePrivateKey())

export const local = ({ privateKey }: Tempo.Account): LocalAccount => privateKeyToAccount(Redacted.value(privateKey))

/** A client that pays its fees in pathUSD. */
export const clientOf = <A extends LocalAccount>(chain: Tempo.TempoChain["Service"], account: A, url = chain.rpcUrl) =>
  createClient({
    account,
    chain: { ...tempoLocalnet, id: chain.chainId as 1337, feeToken: Addresses.pathUsd },
    transport: http(url),
    pollingInterval: 20
  })
