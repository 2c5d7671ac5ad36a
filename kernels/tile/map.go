package tile

// The maps of tile.Map.
const (
	MapPositive = iota // Dst = max(Src, 0)
	MapSteps           // Dst = Src+1 where Src >= 0; elsewhere, and where Src is NaN, Dst stays
)

// Map holds the arguments of an element-wise map of an M x N block, Src[i*LDS+j] to Dst[i*LDD+j]. NaN stays NaN. Src and Dst
// may be the same block (LDD == LDS), but not overlap otherwise. MapSteps after Exp makes the feature map elu(x)+1.
type Map struct {
	Src, Dst []float32
	LDS, LDD int
	M, N     int
	Kind     int
}
