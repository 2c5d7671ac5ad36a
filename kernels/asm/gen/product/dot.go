package main

func (g *generator) dots(tiles []registerTile) {}
